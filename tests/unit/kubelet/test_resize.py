"""What a pod wants, what it was granted, and what its containers got."""

from collections.abc import Mapping
from dataclasses import replace as replace_in
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import (
    Container,
    ContainerResizePolicy,
    Pod,
    PodCondition,
    PodStatus,
    ResourceRequirements,
)
from kybern.kubelet import grants
from kybern.kubelet.allotment import Allotment, CannotResize
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.grants import Grant
from kybern.kubelet.plan import Facts, Resize, Start, Stop, plan, resizing
from kybern.kubelet.publish import patch_of
from kybern.kubelet.resize import (
    Progress,
    Refusal,
    changes,
    conditions,
    decreases_first,
    needs,
    refusal,
    same,
    told,
)
from kybern.kubelet.resources import total
from kybern.kubelet.spec import Machine
from kybern.kubelet.stats.use import Memory
from kybern.kubelet.status import Situation, status_of
from kybern.kubelet.voice import Voice
from kybern.machinery.struct import Object, replace
from tests.unit.kubelet.making import container, ended, facts, pod, run

NODE = {"cpu": "4", "memory": "4Gi"}


def resources(cpu: str = "", memory: str = "", most: Mapping[str, str] | None = None) -> ResourceRequirements:
    asked = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    return ResourceRequirements(requests=asked, limits=most or {})


def sized(name: str = "c", cpu: str = "", memory: str = "", **fields: object) -> Container:
    return container(name, resources=resources(cpu, memory), **fields)


@pytest.mark.parametrize(
    ("cpu", "memory", "reason", "message"),
    [
        ("2", "1Gi", None, ""),
        ("5", "1Gi", "Infeasible", "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000"),
        (
            "5", "4500Mi", "Infeasible",
            "Node didn't have enough capacity: memory, requested: 4718592000, capacity: 4294967296",
        ),
        ("4", "1Gi", "Deferred", "Node didn't have enough resource: cpu, requested: 4000, used: 1000, capacity: 4000"),
        (
            "1", "4Gi", "Deferred",
            "Node didn't have enough resource: memory, requested: 4294967296, used: 1073741824, capacity: 4294967296",
        ),
    ],
)  # fmt: skip
def test_a_wish_is_granted_put_off_or_refused(
    cpu: str, memory: str, reason: str | None, message: str
) -> None:
    found = refusal(pod(sized(cpu=cpu, memory=memory)), [pod(sized(cpu="1", memory="1Gi"))], NODE)

    assert found == (Refusal(reason, message) if reason else None)


def test_amounts_count_and_not_their_spelling() -> None:
    assert same(resources("1", "1Gi"), resources("1000m", "1024Mi"))
    assert not same(resources("1", "1Gi"), resources("1"))


@pytest.mark.parametrize(
    ("policies", "before", "expected"),
    [
        ((), resources("1", "1Gi"), ""),
        ((), resources("2", "1Gi"), "update"),
        ((("cpu", "NotRequired"), ("memory", "RestartContainer")), resources("2", "1Gi"), "update"),
        ((("cpu", "NotRequired"), ("memory", "RestartContainer")), resources("1", "2Gi"), "restart"),
    ],
)
def test_the_policy_of_what_changed_says_whether_a_container_is_run_anew(
    policies: tuple[tuple[str, str], ...], before: ResourceRequirements, expected: str
) -> None:
    policy = tuple(ContainerResizePolicy(resource_name=n, restart_policy=p) for n, p in policies)

    assert needs(sized(cpu="1", memory="1Gi", resize_policy=policy), before) == expected


def test_what_is_given_back_comes_first() -> None:
    grows, shrinks = sized("grows", "2"), sized("shrinks", "1")
    before = {"grows": resources("1"), "shrinks": resources("2")}

    assert [c.name for c in decreases_first((grows, shrinks), before)] == ["shrinks", "grows"]


def with_before(found: Facts, **before: ResourceRequirements) -> Facts:
    return Facts(found.pod, found.actual, found.now, found.health, found.delays, before)


def test_a_running_container_gets_its_resources_in_place() -> None:
    one, two = sized("one", "1"), sized("two", "1")
    instance = run(one)
    found = with_before(facts(pod(one, two), instance, run(two)), one=resources("2"))

    assert list(plan(found)) == [Resize(((one, instance),))]
    assert resizing(found)


def test_a_container_that_must_be_run_anew_is_stopped_and_started_whatever_the_restart_policy() -> None:
    policy = (ContainerResizePolicy(resource_name="cpu", restart_policy="RestartContainer"),)
    one = sized("one", "1", resize_policy=policy)
    alive = with_before(facts(pod(one, restart="OnFailure"), run(one)), one=resources("2"))
    dead = with_before(facts(pod(one, restart="OnFailure"), ended(one, 0)), one=resources("2"))

    (stop,) = plan(alive)

    assert isinstance(stop, Stop)
    assert stop.message == "Container one resize requires restart"
    assert list(plan(dead)) == [Start(one, 1, restart=True)]
    assert status_of(dead, Situation(), PodStatus()).phase == "Running"


def test_a_container_that_does_not_run_has_no_resize_in_progress() -> None:
    one = sized("one", "1")

    assert not resizing(with_before(facts(pod(one), ended(one, 0)), one=resources("2")))


def test_conditions_tell_what_is_pending_and_what_is_under_way() -> None:
    pending = Refusal("Deferred", "no room")

    assert list(conditions(Progress())) == []
    assert list(conditions(Progress(3, "EBUSY", pending, 4))) == [
        PodCondition(
            type="PodResizePending",
            status="True",
            reason="Deferred",
            message="no room",
            observed_generation=4,
        ),
        PodCondition(
            type="PodResizeInProgress", status="True", reason="Error", message="EBUSY", observed_generation=3
        ),
    ]


def test_the_status_shows_what_a_running_container_has_and_what_it_was_granted() -> None:
    one = sized("one", "1")
    found = with_before(facts(pod(one), run(one)), one=resources("2"))

    status = status_of(found, Situation(resize=Progress(2)), PodStatus())

    assert status.container_statuses[0].resources == resources("2")
    assert status.container_statuses[0].allocated_resources == {"cpu": "1"}
    assert status.conditions[0].type == "PodResizeInProgress"
    after = status_of(facts(pod(one), run(one)), Situation(), status)
    assert after.container_statuses[0].resources == resources("1")
    assert "PodResizeInProgress" not in {condition.type for condition in after.conditions}


def test_a_condition_that_is_over_is_taken_out_of_the_api() -> None:
    ready = PodCondition(type="Ready", status="True")
    old = PodStatus(conditions=(PodCondition(type="PodResizeInProgress", status="True"), ready))

    body = patch_of("u1", old, PodStatus(conditions=(ready,)))

    assert body is not None
    assert {"type": "PodResizeInProgress", "$patch": "delete"} in body["status"]["conditions"]


def test_events_name_the_resources_as_upstream_does() -> None:
    one = container("c", resources=resources("100m", "64Mi", {"memory": "64Mi", "cpu": "200m"}))
    asked = replace(pod(one), metadata=replace(pod(one).metadata, generation=2))

    assert told("started", asked) == (
        'Pod resize started: {"containers":[{"name":"c","resources":{"limits":{"cpu":"200m","memory":"64Mi"},'
        '"requests":{"cpu":"100m","memory":"64Mi"}}}],"generation":2}'
    )


class Said:
    """Takes events."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def emit(
        self,
        about: Object | object,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self.reasons.append(reason)


async def test_what_was_granted_outlives_the_kubelet(tmp_path: Path) -> None:
    said, no_room = Said(), Refusal("Deferred", "no room")
    answers: list[Refusal | None] = [no_room, no_room, None]
    first = Allotment(tmp_path, Voice(said, "n1"), lambda _pod: answers.pop(0))
    before, after = pod(sized(cpu="1")), pod(sized(cpu="2"), meta={"generation": 2})

    assert not await first.consider(before)
    assert not await first.consider(after)
    assert not await first.consider(after)
    assert first.progress.waits
    assert first.granted(after).spec == before.spec
    assert await first.consider(after)

    again = Allotment(tmp_path, Voice(said, "n1"), lambda _pod: None)
    assert again.granted(after) == after
    assert again.actuated == {"c": resources("1")}
    await again.has("c")
    await again.done(after)
    assert grants.read(tmp_path) == Grant({"c": resources("2")})
    assert said.reasons == ["ResizeDeferred", "ResizeStarted", "ResizeCompleted"]


def test_a_file_that_cannot_be_understood_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "resources.json").write_text("{")

    assert grants.read(tmp_path) is None


WHOLE = ""
LARGER, SMALLER = resources("2", "2Gi", {"memory": "2Gi"}), resources("1", "1Gi", {"memory": "1Gi"})


def test_a_pod_that_is_resized_as_a_whole_changes_the_containers_that_have_its_limits() -> None:
    own = resources("1", "512Mi", {"memory": "512Mi", "cpu": "1"})
    then = {"free": resources(), "bound": own, WHOLE: SMALLER}

    assert changes(then, {**then, WHOLE: LARGER}) == {"free": resources(), WHOLE: SMALLER}
    assert changes(then, {**then, WHOLE: resources("2", "1Gi", {"memory": "1Gi"})}) == {WHOLE: SMALLER}
    assert changes({"free": resources()}, {"free": resources(), WHOLE: SMALLER}) == {
        "free": resources(), WHOLE: ResourceRequirements(),
    }  # fmt: skip
    assert changes(then, then) == {}


@pytest.mark.parametrize(("policy", "expected"), [("NotRequired", "update"), ("RestartContainer", "restart")])
def test_a_limit_that_is_the_pods_goes_by_the_policy_of_the_container(policy: str, expected: str) -> None:
    one = container(resize_policy=(ContainerResizePolicy(resource_name="memory", restart_policy=policy),))

    assert needs(one, resources(), LARGER, SMALLER) == expected
    assert needs(one, resources(), LARGER) == ""


def test_the_cgroup_of_a_pod_gets_what_was_granted_though_no_container_changes() -> None:
    one = sized(cpu="1")
    found = replace_in(facts(pod(one, resources=LARGER), run(one)), due=True, actuated={WHOLE: SMALLER})

    assert list(plan(found)) == [Resize(())]
    assert status_of(found, Situation(), PodStatus()).resources == SMALLER
    after = replace_in(found, due=False)
    assert list(plan(after)) == []
    assert status_of(after, Situation(), PodStatus()).resources == LARGER


def test_a_container_that_was_stopped_for_it_keeps_a_resize_going_until_it_runs() -> None:
    policy = (ContainerResizePolicy(resource_name="cpu", restart_policy="RestartContainer"),)
    one = sized("one", "1", resize_policy=policy)

    assert resizing(with_before(facts(pod(one), ended(one, 0)), one=resources("2")))


@pytest.mark.parametrize(
    ("of", "allocated"),
    [
        (pod(), {}),
        (pod(sized("a", "100m", "64Mi"), sized("b", "1", "64Mi")), {"cpu": "1100m", "memory": "128Mi"}),
        (pod(sized("a", "100m"), resources=LARGER), {"cpu": "2", "memory": "2Gi"}),
        (
            pod(sized("a", "1"), init_containers=(sized("i", "2"),), overhead={"cpu": "3"}),
            {"cpu": "2"},
        ),
    ],
)
def test_the_status_tells_what_a_pod_was_granted_as_a_whole(of: Pod, allocated: Mapping[str, str]) -> None:
    status = status_of(facts(of), Situation(), PodStatus())

    assert status.allocated_resources == allocated


def test_the_status_tells_what_a_pod_has_as_a_whole() -> None:
    """Also of one that says nothing itself: upstream's kubelet shows it since pods can be resized as a whole."""
    one = Container(name="a", image="i", resources=ResourceRequirements(
        requests={"cpu": "5m", "memory": "16Mi"}, limits={"memory": "32Mi"}
    ))  # fmt: skip

    def shown(of: Pod, **more: Any) -> ResourceRequirements | None:
        return status_of(replace_in(facts(of), **more), Situation(), PodStatus()).resources

    assert shown(pod(Container(name="a", image="i"))) is None
    assert shown(pod(one)) == one.resources
    assert shown(pod(one, resources=LARGER)) == LARGER
    assert shown(pod(sized("a", "2"), sized("b", "1")), actuated={"a": resources("1")}) == resources("2")


class Kernel:
    """A runtime and cgroups that write down what they are asked. ``used`` is in bytes."""

    parent = "/kubepods"

    def __init__(self, used: int = 0, *, refuses: bool = False) -> None:
        self.used = used
        self.refuses = refuses
        self.asked: list[tuple[str, int | None]] = []

    async def memory_of(self, _instance: str) -> int:
        return self.used

    async def update_container(self, _instance: str, wanted: Any) -> None:
        self.asked.append(("update", wanted.memory_limit_in_bytes))
        if self.refuses:
            raise RuntimeFailure("EBUSY")

    def memory(self, _name: str) -> Memory:
        return Memory(0.0, self.used, self.used)

    def lift(self, _pod: Pod) -> None:
        self.asked.append(("lift", None))

    def limit(self, of: Pod) -> None:
        self.asked.append(("limit", total(of).memory_limit))


async def resized(tmp_path: Path, kernel: Kernel, before: Pod, after: Pod) -> Allotment:
    """Grant another size and give it to the container; its error is kept as the worker does."""
    allotment = Allotment(tmp_path, Voice(Said(), "n1"), lambda _pod: None)
    await allotment.consider(before)
    assert await allotment.consider(after)
    (one,) = after.spec.containers
    action = Resize(((one, run(one)),))
    both: Any = kernel
    try:
        await allotment.act(after, action, both, both, Machine(cgroup_v2=True))
    except CannotResize as problem:
        allotment.failed(after, problem)
    return allotment


GIBI = 1 << 30


async def test_a_pod_is_resized_as_a_whole(tmp_path: Path) -> None:
    kernel = Kernel(GIBI // 2)

    allotment = await resized(tmp_path, kernel, pod(resources=SMALLER), pod(resources=LARGER))

    assert kernel.asked == [("lift", None), ("update", 2 * GIBI), ("limit", 2 * GIBI)]
    assert (allotment.due, allotment.actuated) == (False, {WHOLE: SMALLER})


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            pod(resources=LARGER), pod(resources=SMALLER),
            f"attempting to set container c memory limit ({GIBI}) below current usage ({GIBI + 1})",
        ),
        (
            pod(sized(cpu="1"), resources=LARGER), pod(sized(cpu="2"), resources=SMALLER),
            f"attempting to set container c memory limit ({GIBI}) below current usage ({GIBI + 1})",
        ),
        (
            pod(container(resources=resources(most={"memory": "1Gi"})), resources=LARGER),
            pod(container(resources=resources(most={"memory": "1Gi"})), resources=SMALLER),
            f"attempting to set pod memory limit ({GIBI}) below current usage ({GIBI + 1})",
        ),
    ],
)  # fmt: skip
async def test_nothing_is_limited_below_what_is_used(
    before: Pod, after: Pod, text: str, tmp_path: Path
) -> None:
    kernel = Kernel(GIBI + 1)

    allotment = await resized(tmp_path, kernel, before, after)

    assert kernel.asked == []
    assert (allotment.due, allotment.progress.error) == (True, text)


async def test_a_pod_whose_container_cannot_be_resized_keeps_its_limit(tmp_path: Path) -> None:
    kernel = Kernel(refuses=True)

    allotment = await resized(tmp_path, kernel, pod(resources=LARGER), pod(resources=SMALLER))

    assert kernel.asked == [("lift", None), ("update", GIBI), ("limit", 2 * GIBI)]
    assert (allotment.due, allotment.progress.error) == (True, "EBUSY")


async def test_a_pod_gets_resources_of_its_own_that_had_none(tmp_path: Path) -> None:
    allotment = Allotment(tmp_path, Voice(Said(), "n1"), lambda _pod: Refusal("Deferred", "no room"))
    before, after = pod(sized(cpu="1")), pod(sized(cpu="1"), resources=LARGER)

    await allotment.consider(before)
    assert not await allotment.consider(after)

    assert allotment.progress.waits
    assert allotment.granted(after) == before
