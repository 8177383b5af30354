"""A control plane in one process: the fake API server, the real loop and controllers, and kubelets that obey."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from kybern.api.core_v1 import Event, Pod, Secret
from kybern.api.storage_v1 import VolumeAttachment
from kybern.client.verbs import Partial
from kybern.controllers import CONTROLLERS
from kybern.loop.controller import Controller
from kybern.loop.run import Loop
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object
from tests.simulation.api import FakeApi
from tests.simulation.named import Named


def kinds_of(controllers: Sequence[Controller[Any]]) -> set[type[Object]]:
    """All that controllers read, and two kinds that only the garbage collector knows."""
    found: set[type[Object]] = {Event, Secret}
    for one in controllers:
        found |= {
            one.kind,
            *one.owns,
            *(kind for kind, _ in one.watches),
            *(kind for kind, *_ in one.indexes),
        }
    return found - {Partial}


class Simulation:
    def __init__(self, api: FakeApi, loop: Loop) -> None:
        self.api = api
        self.loop = loop

    async def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        """Wait for what must come true; the assertion shows what was asked for."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def rest(self) -> None:
        """Wait until no controller has anything to do, and see that none starts again by itself."""
        quiet = 0
        async with asyncio.timeout(10):
            while quiet < 10:
                before = self.api.revision
                await asyncio.sleep(0.01)
                # Who looks at its objects once a period (autoscalers) is seen at it, and writes nothing.
                quiet = quiet + self.loop.idle if self.api.revision == before else 0

    async def kubelets(self) -> None:
        """Start what is new, end what is to end, as if every pod had a node; drivers attach what they are asked to."""
        number = 0
        while True:
            for pod in self.api.all(Pod):
                if not self.api.holds(pod):
                    continue  # gone while another one was written
                if pod.metadata.deletion_timestamp is not None:
                    await self.api.forget(pod)
                elif pod.status.phase in {"", "Pending"} and not pod.metadata.labels.get("broken"):
                    number += 1
                    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
                    ip = f"10.244.0.{number}"
                    await self.api.set_status(
                        pod,
                        phase="Running",
                        podIP=ip,
                        podIPs=[{"ip": ip}],
                        startTime=now,
                        conditions=[ready],
                    )
            for attachment in self.api.all(VolumeAttachment):
                if not attachment.status.attached and self.api.holds(attachment):
                    await self.api.set_status(attachment, attached=True)
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(names: Sequence[str] = (), settings: Settings | None = None) -> AsyncIterator[Simulation]:
    """The controllers of these names (all, when none is named) at work."""
    made = [make(settings or Settings()) for make in CONTROLLERS]
    api = FakeApi(*kinds_of(made))
    loop = Loop(api, [one for one in made if not names or one.name in names], lambda name: Named(api, name))
    simulation = Simulation(api, loop)
    task = asyncio.create_task(loop.run())
    try:
        yield simulation
    finally:
        task.cancel()
        await asyncio.wait([task])
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            raise problem
    assert api.fights.found == []
