"""The scheduler's loop on an API server in a dict: binding, failing, waiting for permits, making room."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kybern.api.core_v1 import Event, Namespace, Node, Pod
from kybern.api.resource_v1 import ResourceClaim
from kybern.client.events import Recorder
from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.struct import Object
from kybern.scheduler.bind import Binder
from kybern.scheduler.changes import Action, Wake
from kybern.scheduler.extender import Extender, ExtenderFailed, Filtered, Settings
from kybern.scheduler.framework import Attempt, Plugin, Verdict
from kybern.scheduler.handle import Handle
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.queue import Delays
from kybern.scheduler.run import BATCH, Scheduler
from tests.simulation.api import FakeApi

KINDS: set[type[Object]] = {Node, Pod, Event, *(kind for plugin in PLUGINS for kind in plugin.needs)}
PODS = "/api/v1/namespaces/default/pods"
GANG = "example.com/gang"


class Bed:
    def __init__(self, api: FakeApi) -> None:
        self.api = api

    async def node(self, name: str, cpu: str = "2") -> None:
        await self.api.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
        (found,) = [one for one in self.api.all(Node) if one.metadata.name == name]
        await self.api.set_status(found, allocatable={"cpu": cpu, "memory": "4Gi", "pods": "110"})

    async def pod(self, name: str, cpu: str = "1", priority: int = 0, **labels: str) -> None:
        container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}
        spec = {"containers": [container], "schedulerName": "default-scheduler", "priority": priority}
        metadata = {"name": name, "namespace": "default", "labels": {GANG: labels["gang"]} if labels else {}}
        await self.api.request("POST", PODS, {"metadata": metadata, "spec": spec})

    def one(self, name: str) -> Pod:
        found = self.api.one(Pod, "default", name)
        assert found is not None, name
        return found

    def where(self, *names: str) -> list[str]:
        return [self.one(name).spec.node_name for name in names]

    def said(self, name: str) -> tuple[str, str]:
        found = [one for one in self.one(name).status.conditions if one.type == "PodScheduled"]
        return (found[0].reason, found[0].message) if found else ("", "")

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def scheduling(
    *plugins: Plugin, extenders: tuple[Extender, ...] = (), parallel: asyncio.Semaphore | None = None
) -> AsyncIterator[Bed]:
    api = FakeApi(*KINDS)
    recorder = Recorder(api, "default-scheduler")
    handle = Handle(Binder(api, recorder, parallel or asyncio.Semaphore(10)), extenders)
    profile = Profile.of((*PLUGINS, *plugins))
    scheduler = Scheduler(handle, {profile.name: profile}, Delays(0.01, 0.02), seed=1)
    task = asyncio.create_task(scheduler.run())
    try:
        yield Bed(api)
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (problem := task.exception()):
            raise problem


async def test_pods_get_nodes_as_long_as_there_is_room() -> None:
    async with scheduling() as bed:
        await bed.node("a")
        for number in range(3):
            await bed.pod(f"p{number}")
        await bed.until(lambda: sorted(bed.where("p0", "p1", "p2")) == ["", "a", "a"])
        (left,) = [name for name in ("p0", "p1", "p2") if not bed.where(name)[0]]
        await bed.until(lambda: bed.said(left)[0] == "Unschedulable")
        assert bed.said(left)[1].startswith("0/1 nodes are available: 1 Insufficient cpu. preemption: ")

        await bed.node("b")

        await bed.until(lambda: bed.where(left) == ["b"])


async def test_decisions_wait_for_bindings_that_cannot_be_asked_for_yet() -> None:
    decided, parallel = [], asyncio.Semaphore(1)

    def reserve(attempt: Attempt, _node: str) -> str:
        decided.append(attempt.facts.uid)
        return ""

    def bound() -> int:
        return len([one for one in bed.api.all(Pod) if one.spec.node_name])

    async with scheduling(Plugin("Counting", reserve=reserve), parallel=parallel) as bed:
        await bed.node("a")
        await bed.node("b")
        await bed.pod("first", cpu="1m")
        await bed.until(bound)

        async with parallel:
            for number in range(2 * BATCH):
                await bed.pod(f"p{number}", cpu="1m")
            for _ in range(20):  # turns of the event loop, each of them enough for a batch
                await asyncio.sleep(0)
            assert len(decided) <= 1 + BATCH

        await bed.until(lambda: bound() == 1 + 2 * BATCH)


async def test_a_binding_that_failed_is_tried_again() -> None:
    async with scheduling() as bed:
        failures = 2

        def refuse(_method: str, path: str) -> None:
            nonlocal failures
            if path.endswith("/binding") and failures:
                failures -= 1
                raise ServiceUnavailable("no leader")

        bed.api.refuse = refuse
        await bed.node("a")
        await bed.pod("p")

        await bed.until(lambda: bed.where("p") == ["a"])
        assert failures == 0
        assert bed.said("p") == ("SchedulerError", 'running Bind plugin "DefaultBinder": no leader')


class Moody(Extender):
    """An extender without a network, that fails at first."""

    def __init__(self, failures: int) -> None:
        super().__init__(Settings("http://moody", filter_verb="filter"))
        self.failures = failures

    async def filter(self, pod: Pod, nodes: Sequence[Node]) -> Filtered:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise ExtenderFailed("not in the mood")
        names = sorted(node.metadata.name for node in nodes)
        return Filtered(frozenset(names[-1:]), dict.fromkeys(names[:-1], f"not for {pod.metadata.name}"), {})


async def test_an_extender_s_failure_is_told_and_the_pod_is_tried_again() -> None:
    async with scheduling(extenders=(Moody(1),)) as bed:
        for name in "abc":
            await bed.node(name)
        await bed.pod("p")

        await bed.until(lambda: bed.where("p") == ["c"])
        assert bed.said("p") == ("SchedulerError", "not in the mood")


async def test_a_pod_that_was_resized_gives_up_its_room_when_that_is_in_force() -> None:
    async with scheduling() as bed:
        await bed.node("a", cpu="2")
        await bed.pod("big", cpu="2")
        await bed.until(lambda: bed.where("big") == ["a"])

        def report(cpu: str) -> dict[str, Any]:
            held = {"allocatedResources": {"cpu": cpu}, "resources": {"requests": {"cpu": cpu}}}
            return {"containerStatuses": [{"name": "c", **held}]}

        await bed.api.set_status(bed.one("big"), **report("2"))
        spec = {"containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "1"}}}]}
        await bed.api.request("PATCH", f"{PODS}/big", {"spec": spec})
        await bed.pod("next")
        await bed.until(lambda: bed.said("next")[0] == "Unschedulable")

        await bed.api.set_status(bed.one("big"), **report("1"))

        await bed.until(lambda: bed.where("next") == ["a"])


def gang(size: int) -> Plugin:
    """Pods of a gang go together or not at all."""

    def permit(attempt: Attempt, _node: str) -> Verdict | None:
        mine = attempt.facts.pod.metadata.labels.get(GANG)
        if mine is None:
            return None
        others = [one for one in attempt.parked if one.facts.pod.metadata.labels.get(GANG) == mine]
        if len(others) + 1 < size:
            return Verdict(wait=60.0)
        for one in others:
            attempt.parked.allow(one.facts.uid, "Gang")
        return None

    return Plugin("Gang", permit=permit)


async def test_a_gang_is_bound_when_its_last_pod_has_come() -> None:
    async with scheduling(gang(2)) as bed:
        await bed.node("a")
        await bed.pod("one", gang="x")
        await bed.pod("other")
        await bed.until(lambda: bed.where("other") == ["a"])
        assert bed.where("one") == [""]
        assert bed.one("one").status.nominated_node_name == "a"

        await bed.node("b")
        await bed.pod("two", gang="x")

        await bed.until(lambda: all(bed.where("one", "two")))


async def test_a_pod_that_waits_for_a_permit_holds_its_room_until_it_is_deleted() -> None:
    async with scheduling(gang(2)) as bed:
        await bed.node("a", cpu="1")
        await bed.pod("one", gang="x")
        await bed.pod("other")
        await bed.until(lambda: bed.said("other")[0] == "Unschedulable")

        await bed.api.forget(bed.one("one"))

        await bed.until(lambda: bed.where("other") == ["a"])


async def test_what_was_reserved_for_a_pod_that_cannot_be_prepared_is_given_back() -> None:
    held: set[str] = set()
    tried: list[str] = []

    def reserve(_attempt: Attempt, node: str) -> str:
        held.add(node)
        return ""

    async def pre_bind(attempt: Attempt, node: str, _handle: Handle) -> str:
        tried.append(node)
        assert held == {node}
        return "" if len(tried) > 1 else f"no disk for {attempt.facts.pod.metadata.name}"

    disk = Plugin(
        "Disk", reserve=reserve, unreserve=lambda _attempt, node: held.discard(node), pre_bind=pre_bind
    )
    async with scheduling(disk) as bed:
        await bed.node("a")
        await bed.pod("p")

        await bed.until(lambda: bed.where("p") == ["a"])
        assert tried == ["a", "a"]
        assert held == {"a"}
        assert bed.said("p") == ("SchedulerError", 'running PreBind plugin "Disk": no disk for p')


async def test_a_plugin_may_have_refused_pods_tried_again() -> None:
    met: list[str] = []

    def permit(attempt: Attempt, _node: str) -> Verdict | None:
        """Nobody goes before somebody else has come."""
        met.append(attempt.facts.uid)
        if len(set(met)) == 1:
            return Verdict("alone")
        attempt.activate.update(met)
        return None

    shy = Plugin("Shy", permit=permit, wakes=(Wake(Namespace, Action.ADDED),))
    async with scheduling(shy) as bed:
        await bed.node("a")
        await bed.pod("one")
        await bed.until(lambda: bed.said("one") == ("Unschedulable", "0/1 nodes are available: 1 alone."))
        await bed.pod("two")

        await bed.until(lambda: bed.where("one", "two") == ["a", "a"])


async def test_a_pod_of_lower_priority_leaves_and_its_room_is_kept() -> None:
    async with scheduling() as bed:
        await bed.node("a", cpu="1")
        await bed.pod("low")
        await bed.until(lambda: bed.where("low") == ["a"])
        await bed.pod("high", priority=10)
        await bed.until(lambda: bed.one("low").metadata.deletion_timestamp)
        await bed.until(lambda: bed.one("high").status.nominated_node_name == "a")
        await bed.pod("late")
        await bed.until(lambda: bed.said("late")[0] == "Unschedulable")

        await bed.api.forget(bed.one("low"))

        await bed.until(lambda: bed.where("high") == ["a"])
        assert bed.where("late") == [""]


async def test_devices_are_given_for_an_extended_resource() -> None:
    async with scheduling() as bed:
        for name in "ab":
            await bed.node(name)
        resources = "/apis/resource.k8s.io/v1"
        spec = {"extendedResourceName": "example.com/gpu"}
        await bed.api.request(
            "POST", f"{resources}/deviceclasses", {"metadata": {"name": "gpu"}, "spec": spec}
        )
        pool = {"name": "b", "generation": 1, "resourceSliceCount": 1}
        offer = {"driver": "gpu.example.com", "nodeName": "b", "pool": pool, "devices": [{"name": "d"}]}
        await bed.api.request(
            "POST", f"{resources}/resourceslices", {"metadata": {"name": "s"}, "spec": offer}
        )
        container = {"name": "c", "image": "x", "resources": {"requests": {"example.com/gpu": "1"}}}
        wanted = {"containers": [container], "schedulerName": "default-scheduler"}
        for name in "pq":
            metadata = {"name": name, "namespace": "default"}
            await bed.api.request("POST", PODS, {"metadata": metadata, "spec": wanted})

        await bed.until(lambda: sorted(bed.where("p", "q")) == ["", "b"])
        first, second = ("p", "q") if bed.where("p") == ["b"] else ("q", "p")
        (claim,) = bed.api.all(ResourceClaim)
        told = bed.one(first).status.extended_resource_claim_status
        assert told is not None
        assert told.resource_claim_name == claim.metadata.name
        assert [one.request_name for one in told.request_mappings] == ["container-0-request-0"]
        assert claim.status.allocation is not None
        assert [one.uid for one in claim.status.reserved_for] == [bed.one(first).metadata.uid]
        await bed.until(lambda: bed.said(second)[0] == "Unschedulable")
        assert "2 cannot allocate all claims" in bed.said(second)[1]


@pytest.mark.parametrize("how", ["deleted", "promised nothing", "promised another node"])
async def test_room_that_was_promised_is_free_when_the_promise_ends(how: str) -> None:
    async with scheduling() as bed:
        await bed.node("a")
        container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "2"}}}
        spec = {
            "containers": [container], "schedulerName": "default-scheduler", "priority": 10,
            "nodeSelector": {"disk": "ssd"},
        }  # fmt: skip
        vip = {"metadata": {"name": "vip", "namespace": "default"}, "spec": spec}
        await bed.api.request("POST", PODS, vip)
        await bed.until(lambda: bed.said("vip")[0] == "Unschedulable")
        await bed.api.set_status(bed.one("vip"), nominatedNodeName="a")
        await bed.until(lambda: bed.one("vip").status.nominated_node_name == "a")
        await bed.pod("small")
        await bed.until(lambda: bed.said("small")[0] == "Unschedulable")

        if how == "deleted":
            await bed.api.request("DELETE", f"{PODS}/vip")
        else:
            await bed.api.set_status(
                bed.one("vip"), nominatedNodeName="b" if how == "promised another node" else ""
            )

        await bed.until(lambda: bed.where("small") == ["a"])
