"""A whole control plane in one process: API server, all controllers, scheduler, and machines; in virtual time.

The manager (the controllers) and the scheduler are killed and started anew as the weather has it, each time with empty
caches, as a daemon is that another master takes over from.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import msgspec

from kybern.client.cache import Cache
from kybern.client.events import Recorder
from kybern.client.verbs import Verbs
from kybern.controllers import CONTROLLERS
from kybern.loop.run import Loop
from kybern.loop.settings import Settings
from kybern.machinery.errors import AlreadyExists, Forbidden
from kybern.machinery.selectors import parse_labels
from kybern.scheduler.bind import Binder
from kybern.scheduler.handle import Handle
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.run import Scheduler
from tests.simulation.fights import Fights
from tests.simulation.named import Named
from tests.simulation.plane.clients import Troubled, Weather
from tests.simulation.plane.machines import Machines
from tests.simulation.plane.mix import Mix
from tests.simulation.plane.server import Server, serving
from tests.simulation.plane.virtual import moment

SETTINGS = Settings(
    root_ca="CA",
    allocate_node_cidrs=True,
    cluster_cidrs=(ip_network("10.128.0.0/9"),),
    service_cidrs=(ip_network("10.96.0.0/14"),),
    autoscaler_downscale_window=30.0,
    node_eviction_rate=1.0,
)
NEEDS_KEYS = ("certificatesigningrequest-signing-controller", "serviceaccount-token-controller")
QUIET = 45.0  # virtual seconds without a write that counts: longer than any delay of a loop that has work
PATIENCE = 300.0  # virtual seconds until rest


class Plane:
    """``user`` is a client without trouble."""

    def __init__(self, server: Server, dice: random.Random, mix: Mix, nodes: int) -> None:
        self.server = server
        self.dice = dice
        self.mix = mix
        self.names = [f"n{number}" for number in range(nodes)]
        self.user: Verbs = server.client()
        self.weather = Weather(dice)
        self.machines = Machines(server.client(), random.Random(dice.random()))
        self.kills = 0
        self._manager: asyncio.Task[None] | None = None
        self._scheduler: asyncio.Task[None] | None = None
        self.loop: Loop | None = None
        server.metrics = self._metrics

    def _metrics(self, namespace: str, selector: str) -> dict[str, Any]:
        wanted = parse_labels(selector)
        for (where, app), load in self.mix.loads.items():
            if where == namespace and wanted.matches({"app": app}):
                return self.machines.usage(namespace, {"app": app}, load)
        return {"items": []}

    def client(self, name: str) -> Verbs:
        """A client in bad weather."""
        return Named(Troubled(self.server.client(), self.weather), name)

    async def manage(self) -> None:
        """A controller manager, until it is killed."""
        made = [one for make in CONTROLLERS if (one := make(SETTINGS)).name not in NEEDS_KEYS]
        self.loop = Loop(self.client("manager"), made, self.client, Cache(moment))
        await self.loop.run()

    async def schedule(self) -> None:
        client = self.client("scheduler")
        recorder = Recorder(client, "default-scheduler", clock=moment)
        profile = Profile.of(PLUGINS)
        handle = Handle(Binder(client, recorder, asyncio.Semaphore(100), clock=moment))
        scheduler = Scheduler(handle, {profile.name: profile}, seed=self.dice.randrange(1000))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run())
            await scheduler.run()

    async def start(self) -> None:
        self._manager = asyncio.create_task(self.manage())
        self._scheduler = asyncio.create_task(self.schedule())

    async def kill(self, which: str) -> None:
        """End one of the two between any two of its actions, and start it anew, knowing nothing."""
        self.kills += 1
        task = self._manager if which == "manager" else self._scheduler
        assert task is not None
        await _ended(task)
        again: Callable[[], Coroutine[Any, Any, None]] = self.manage if which == "manager" else self.schedule
        fresh = asyncio.create_task(again())
        if which == "manager":
            self._manager = fresh
        else:
            self._scheduler = fresh

    async def stop(self) -> None:
        for task in (self._manager, self._scheduler):
            if task is not None:
                await _ended(task)

    async def send(self, path: str, raw: Mapping[str, Any], method: str = "POST", **more: Any) -> None:
        """Ask again for as long as a new quota is not counted yet, or an account not made, as users do."""
        for _ in range(60):
            try:
                await self.user.request(method, path, dict(raw), **more)
            except AlreadyExists:
                return
            except Forbidden:
                await asyncio.sleep(0.5)
            else:
                return
        raise AssertionError(f"{method} {path} was refused for half a minute")

    async def rest(self) -> float:
        """Wait until nobody writes anything that counts any more. Gives the virtual seconds that it took."""
        time = asyncio.get_running_loop().time
        begun = time()
        before, since = self.server.store.counting, time()
        while time() - since < QUIET:
            for task in (self._manager, self._scheduler):
                if task is not None and task.done():
                    task.result()
            if time() - begun > PATIENCE:
                lately = "\n".join(self.server.store.lately)
                raise AssertionError(f"no rest after {PATIENCE:.0f} s; the last writes are\n{lately}")
            await asyncio.sleep(1.0)
            if self.server.store.counting != before:
                before, since = self.server.store.counting, time()
        return since - begun

    def objects(self) -> dict[str, list[dict[str, Any]]]:
        """All objects by their kind."""
        found: dict[str, list[dict[str, Any]]] = {}
        for stored in self.server.store._now.values():
            raw = msgspec.json.decode(stored.value)
            found.setdefault(raw["kind"], []).append(raw)
        return found

    def now(self) -> datetime:
        return moment()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (problem := task.exception()) is not None:
        raise problem


@asynccontextmanager
async def running(mix: Mix, nodes: int, dice: random.Random, fights: Fights) -> AsyncIterator[Plane]:
    """A control plane with its machines; what users want is sent by the caller."""
    async with serving(fights) as server:
        plane = Plane(server, dice, mix, nodes)
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            await plane.send("/api/v1/namespaces", {"metadata": {"name": name}})
        for number, name in enumerate(plane.names):
            await plane.machines.join(name, number)
        await plane.start()
        machines = asyncio.create_task(plane.machines.run(plane.names))
        try:
            yield plane
        finally:
            await plane.stop()
            await _ended(machines)
