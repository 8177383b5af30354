"""The loop of eviction: who is given up, and when nobody is."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kybern.api.core_v1 import Pod, ResourceRequirements
from kybern.kubelet.eviction.evictor import Evictor, Rules, World
from kybern.kubelet.eviction.signals import Threshold
from kybern.kubelet.stats.use import FileSystem, NodeUse
from kybern.kubelet.status import Verdict
from kybern.kubelet.surroundings import Pressures
from kybern.kubelet.voice import Voice
from tests.unit.kubelet.making import container, pod
from tests.unit.kubelet.using import MIB, named, node_use, use

HARD = Threshold("memory.available", "100Mi")
SOFT = Threshold("memory.available", "200Mi", grace=30.0)
DISK = Threshold("nodefs.available", "10%", minimum="5%")


class _Candidate:
    def __init__(self, of: Pod) -> None:
        self.pod = of
        self.verdict: Verdict | None = None

    def end(self, verdict: Verdict | None = None) -> None:
        self.verdict = verdict


class _Events:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.notes: list[Mapping[str, str] | None] = []

    def emit(
        self,
        about: object,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self.told.append((reason, message))
        self.notes.append(annotations)


class _World:
    """A node whose measurements are given one after the other."""

    def __init__(self, *found: NodeUse, pods: tuple[Pod, ...]) -> None:
        self.found = list(found)
        self.candidates = [_Candidate(one) for one in pods]
        self.events = _Events()
        self.pressures = Pressures()
        self.freed = 0

    async def measure(self) -> NodeUse:
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]

    async def free(self) -> None:
        self.freed += 1

    async def ended(self, uids: tuple[str, ...]) -> None: ...

    def evictor(self, *lines: Threshold, **more: Any) -> Evictor:
        world = World(
            self.measure,
            lambda: self.candidates,
            self.ended,
            self.free,
            Voice(self.events, "n1"),
            self.pressures,
        )
        return Evictor(Rules(lines, **more), world)


async def test_one_pod_goes_at_a_time_and_never_one_that_the_system_needs() -> None:
    pods = (named("needed", priority=2_000_000_000), named("a"), named("b"))
    world = _World(node_use(use("needed", 900), use("a", 10), use("b", 20), memory=50), pods=pods)

    gone = await world.evictor(HARD).look()

    assert gone == ("b",)
    verdicts = [candidate.verdict for candidate in world.candidates]
    assert verdicts[:2] == [None, None]
    last = verdicts[2]
    assert last is not None
    assert last.condition is not None
    assert (last.reason, last.grace, last.condition.reason) == ("Evicted", 1, "TerminationByKubelet")
    assert world.events.told[0] == ("EvictionThresholdMet", "Attempting to reclaim memory")
    assert world.events.told[1][0] == "Evicted"
    assert world.events.notes[1] == {
        "starved_resource": "memory", "offending_containers": "c", "offending_containers_usage": "20Mi",
    }  # fmt: skip
    assert world.pressures.conditions == ("MemoryPressure",)


async def test_beyond_a_soft_threshold_a_pod_has_its_time() -> None:
    world = _World(node_use(use("a", 10), memory=150), pods=(named("a"),))

    await world.evictor(replace(SOFT, grace=1e-9), most_grace=20).look()
    evictor = world.evictor(replace(SOFT, grace=1e-9), most_grace=20)
    await evictor.look()
    await evictor.look()

    verdict = world.candidates[0].verdict
    assert verdict is not None
    assert verdict.grace == 20


async def test_no_pod_goes_when_images_free_the_disk() -> None:
    full = replace(node_use(use("a", disk=10)), fs=FileSystem(0.0, 50 * MIB, 1000 * MIB, 900, 1000))
    world = _World(full, node_use(use("a", disk=10)), pods=(named("a"),))

    assert await world.evictor(DISK).look() == ()
    assert world.freed == 1
    assert world.candidates[0].verdict is None


@pytest.mark.parametrize(("signal", "freed"), [("nodefs.available", 0), ("imagefs.available", 1)])
async def test_images_on_a_disk_of_their_own_are_not_in_the_way_of_the_nodes(signal: str, freed: int) -> None:
    short = FileSystem(0.0, 50 * MIB, 1000 * MIB, 900, 1000)
    full = replace(node_use(use("a", disk=10)), fs=short, image_fs=short, dedicated_image_fs=True)
    world = _World(full, pods=(named("a"),))

    assert await world.evictor(Threshold(signal, "10%")).look() == ("a",)
    assert world.freed == freed


async def test_a_pod_beyond_its_own_limit_goes_though_nothing_is_short() -> None:
    limited = pod(container(resources=ResourceRequirements(limits={"ephemeral-storage": "10Mi"})))
    found = node_use(use(limited.metadata.uid, disk=11))

    assert await _World(found, pods=(limited,)).evictor().look() == ("u1",)
    assert await _World(found, pods=(limited,)).evictor(limits=False).look() == ()
