"""All controllers together, whatever is between them and the API server: late watches, conflicts, lost answers, lost leases.

Every controller that is registered takes part, and what comes of it must be what comes of it undisturbed.
"""

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from kybern.api.apps_v1 import Deployment
from kybern.client.lease import Election, Lost, Timing
from kybern.client.verbs import Verbs
from kybern.controllers import CONTROLLERS
from kybern.loop.run import Loop
from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi
from tests.simulation.cluster import Simulation, kinds_of
from tests.simulation.fights import WRITER
from tests.simulation.mortal import Late, alive
from tests.simulation.named import Named
from tests.simulation.occasions import SETTINGS, make_ready
from tests.simulation.plane.clients import Troubled, Weather
from tests.simulation.test_kills import brought_about, shape
from tests.simulation.test_rest import create_some

QUICK = Timing(lease_duration=1.0, renew_deadline=0.5, retry_period=0.05)


@pytest.fixture(scope="module")
def undisturbed() -> Counter[str]:
    return asyncio.run(brought_about([]))


async def filled() -> FakeApi:
    api = FakeApi(*kinds_of([make(SETTINGS) for make in CONTROLLERS]))
    await create_some(api)
    await make_ready(api)
    return api


async def brought_about_by(
    api: FakeApi, client: Verbs, wanted: Counter[str], weather: Weather | None = None
) -> Counter[str]:
    """What controllers with this client come to in good weather after bad: ``wanted``, or what there is instead in the end.

    A watch that was cut is opened again some time later, which nothing that is seen from here announces.
    """
    async with alive(client, [make(SETTINGS) for make in CONTROLLERS]) as loop:
        cluster = Simulation(api, loop)
        kubelets = asyncio.create_task(cluster.kubelets())
        try:
            async with asyncio.timeout(60):
                await asyncio.sleep(0.5)
                if weather is not None:
                    await asyncio.sleep(1.5)
                    weather.over = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(40):
                    await cluster.rest()
                    while shape(api) != wanted:
                        await asyncio.sleep(0.1)
                        await cluster.rest()
            assert not kubelets.done(), kubelets.exception()
        finally:
            kubelets.cancel()
    return shape(api)


@pytest.mark.parametrize("seed", range(3))
async def test_conflicts_lost_answers_and_cut_watches_change_nothing(
    undisturbed: Counter[str], seed: int
) -> None:
    api = await filled()
    weather = Weather(random.Random(seed), conflict=0.1, lost=0.1, cut=0.02)

    found = await brought_about_by(api, Troubled(api, weather), undisturbed, weather)

    assert sum(weather.seen.values()) > 10
    assert found - undisturbed == Counter()
    assert undisturbed - found == Counter()


def comings_and_goings(api: FakeApi) -> Counter[tuple[str, str]]:
    """How many objects of each kind were made and went, other than events."""
    return Counter(
        (what, where)
        for _, what, where, _ in api.log
        if what in {"ADDED", "DELETED"} and not where.endswith("/events")
    )


@pytest.mark.parametrize("seconds", [0.01, 0.05])
async def test_every_controller_acts_once_though_watches_are_late(
    undisturbed: Counter[str], seconds: float
) -> None:
    on_time, late = await filled(), await filled()
    await brought_about_by(on_time, on_time, undisturbed)

    found = await brought_about_by(late, Late(late, seconds), undisturbed)

    assert found - undisturbed == Counter()
    assert undisturbed - found == Counter()
    assert comings_and_goings(late) == comings_and_goings(on_time)


class Gate:
    """Notes when controllers write, and lets nobody renew the lease after ``closes``."""

    def __init__(self, closes: float) -> None:
        self.closes = closes
        self.renewed = 0.0
        self.writes: list[float] = []

    def __call__(self, method: str, path: str) -> None:
        now = asyncio.get_running_loop().time()
        if not path.endswith("/leases/manager"):
            # Of users nothing is noted: they have no name.
            if method != "GET" and WRITER.get():
                self.writes.append(now)
        elif now > self.closes:
            raise ServiceUnavailable("down")
        else:
            self.renewed = now


async def rescaling(api: FakeApi) -> None:
    """A user who gives the controllers work for ever."""
    while True:
        found = api.one(Deployment, "a", "web")
        assert found is not None
        wanted = 5 - (found.spec.replicas or 0) % 4
        await api.patch(found, replace(found, spec=replace(found.spec, replicas=wanted)))
        await asyncio.sleep(0.03)


async def test_who_cannot_renew_writes_nothing_after_the_lease() -> None:
    """There is work all the time; the writes end before another one may lead."""
    api = await filled()
    time = asyncio.get_running_loop().time
    api.refuse = gate = Gate(time() + 0.6)
    loop = Loop(api, [make(SETTINGS) for make in CONTROLLERS], lambda name: Named(api, name))
    work = asyncio.create_task(rescaling(api))

    with pytest.raises(Lost):
        await asyncio.wait_for(Election(api, "manager", "me", timing=QUICK).run(loop.run), 10)
    lost = time()
    await asyncio.sleep(0.3)
    work.cancel()

    assert len(gate.writes) > 20
    assert gate.writes[-1] <= lost < gate.renewed + QUICK.lease_duration
