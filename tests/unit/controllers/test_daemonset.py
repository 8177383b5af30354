"""One pod of a daemon set on every node that it is for."""

from collections.abc import Iterable
from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

import pytest

from kybern.api.apps_v1 import (
    ControllerRevision,
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    RollingUpdateDaemonSet,
)  # fmt: skip
from kybern.api.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Pod, Taint, Toleration
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.controllers import daemonset
from kybern.controllers.daemonset import Backoff, diff
from kybern.controllers.daemonset.plan import State, limits
from kybern.controllers.daemonset.pods import new_pod, node_of
from kybern.loop.controller import Action, Again, Create, Delete, Emit, Key, Patch, PatchStatus, WhenChanged
from kybern.loop.revisions import LABEL, digest, made, template_of
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import LABELS, NOW, ago, only, pod, template, view

KEY = Key("a", "web")
CONTROLLER = daemonset.controller(Settings())


def ds(
    image: str = "i", *, surge: Any = 0, unavailable: Any = 1, kind: str = "RollingUpdate", **spec: Any
) -> DaemonSet:
    rolling = RollingUpdateDaemonSet(max_surge=surge, max_unavailable=unavailable)
    strategy = DaemonSetUpdateStrategy(type=kind, rolling_update=rolling if kind == "RollingUpdate" else None)
    wanted: dict[str, Any] = {
        "selector": LabelSelector(match_labels=LABELS),
        "template": template(image),
        "update_strategy": strategy,
        "revision_history_limit": 10,
    }
    return DaemonSet(
        metadata=ObjectMeta(name="web", namespace="a", uid="uid-web", generation=1),
        spec=DaemonSetSpec(**{**wanted, **spec}),
    )


def node(name: str, *taints: tuple[str, str], **labels: str) -> Node:
    found = tuple(Taint(key=key, effect=effect) for key, effect in taints)
    return Node(metadata=ObjectMeta(name=name, labels=labels), spec=NodeSpec(taints=found))


def mark(wanted: DaemonSet) -> str:
    return digest(wanted.spec.template, None)


def revision(wanted: DaemonSet, number: int = 1) -> ControllerRevision:
    found = made(wanted, mark(wanted), number, {**LABELS, LABEL: mark(wanted)}, wanted.spec.template)
    return replace(found, metadata=replace(found.metadata, uid=f"uid-{number}"))


def on(where: str, of: DaemonSet, name: str = "", *, ready: bool | None = True, **status: Any) -> Pod:
    found = pod(name or f"web-{where}", of, ready=ready, node=where)
    found = replace(found, metadata=replace(found.metadata, labels={**LABELS, LABEL: mark(of)}))
    return replace(found, status=replace(found.status, **status)) if status else found


def seen(*objects: Object, backoff: Backoff | None = None) -> State:
    live = next(one for one in objects if isinstance(one, DaemonSet))
    state = daemonset.observe(view(CONTROLLER, *objects, live=lambda _: live), KEY, backoff or Backoff())
    assert state is not None
    return state


def done(*objects: Object, backoff: Backoff | None = None) -> list[Action]:
    return list(diff(seen(*objects, backoff=backoff)))


def made_on(actions: Iterable[Action]) -> list[str]:
    return [node_of(one.object) for one in only(actions, Create) if isinstance(one.object, Pod)]


def gone(actions: Iterable[Action]) -> list[str]:
    return [one.object.metadata.name for one in only(actions, Delete)]


def test_every_node_gets_a_pod_bound_to_it_and_the_template_a_revision() -> None:
    wanted = ds()
    actions = done(wanted, node("n1"), node("n2"), on("n2", wanted))

    assert made_on(actions) == ["n1"]
    kept = next(one.object for one in only(actions, Create) if isinstance(one.object, ControllerRevision))
    assert (kept.revision, template_of(kept)) == (1, wanted.spec.template)
    assert kept.data["spec"]["template"]["$patch"] == "replace"
    created = next(one.object for one in only(actions, Create) if isinstance(one.object, Pod))
    assert created.metadata.labels[LABEL] == kept.metadata.labels[LABEL]
    said = [one.message for one in only(actions, Emit)]
    assert said == [f"Created pod: {created.metadata.name}"]


def test_a_daemon_tolerates_what_troubles_its_node() -> None:
    spec = replace(template().spec, host_network=True)
    wanted = ds(template=replace(template(), spec=spec))
    made_pod = new_pod(wanted, "n1", "x", "web-x")

    assert {one.key.removeprefix("node.kubernetes.io/") for one in made_pod.spec.tolerations} == {
        "not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable",
        "network-unavailable",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("where", "runs", "stays"),
    [
        (node("n1"), True, True),
        (node("n1", ("k", "NoSchedule")), False, True),
        (node("n1", ("k", "NoExecute")), False, False),
        (node("n1", ("k", "PreferNoSchedule")), True, True),
        (node("n1", ("node.kubernetes.io/unschedulable", "NoSchedule")), True, True),
        (node("n1", ("node.kubernetes.io/not-ready", "NoExecute")), True, True),
        (node("n1", ("mine", "NoExecute")), True, True),
    ],
)
def test_taints_keep_off_or_send_away(where: Node, runs: bool, stays: bool) -> None:
    own = (Toleration(key="mine", operator="Exists"),)
    wanted = ds(template=replace(template(), spec=replace(template().spec, tolerations=own)))
    empty = done(wanted, revision(wanted), where)
    there = done(wanted, revision(wanted), where, on("n1", wanted))

    assert made_on(empty) == (["n1"] if runs else [])
    assert gone(there) == ([] if stays else ["web-n1"])
    status = only(there, PatchStatus)[0].new.status
    assert status.number_misscheduled == (0 if runs else 1)
    assert status.desired_number_scheduled == int(runs)


def test_what_a_node_says_of_its_health_wakes_no_daemon_set_and_a_taint_or_a_label_does() -> None:
    wakes = next(wakes for kind, wakes in CONTROLLER.watches if kind is Node)
    assert isinstance(wakes, WhenChanged)
    old = node("n1")
    beat = NodeStatus(conditions=(NodeCondition(type="Ready", status="True", last_heartbeat_time=NOW),))

    assert not wakes.is_about(replace(old, status=beat), old)
    assert wakes.is_about(node("n1", ("k", "NoSchedule")), old)
    assert wakes.is_about(node("n1", disk="fast"), old)
    assert list(wakes(old, view(CONTROLLER, ds()))) == [KEY]


def test_a_node_selector_chooses_and_unchooses() -> None:
    spec = replace(template().spec, node_selector={"color": "blue"})
    wanted = ds(template=replace(template(), spec=spec))
    nodes = (node("n1", color="blue"), node("n2", color="green"))

    assert made_on(done(wanted, revision(wanted), *nodes)) == ["n1"]
    assert gone(done(wanted, revision(wanted), *nodes, on("n1", wanted), on("n2", wanted))) == ["web-n2"]


def test_of_two_pods_on_a_node_the_oldest_stays() -> None:
    wanted = ds()
    young = on("n1", wanted, "young")
    young = replace(young, metadata=replace(young.metadata, creation_timestamp=ago(1)))

    assert gone(done(wanted, revision(wanted), node("n1"), young, on("n1", wanted, "old"))) == ["young"]


def test_a_pod_meant_for_a_node_that_is_gone_goes() -> None:
    wanted = ds()
    waiting = replace(
        on("", wanted, "lost", ready=None), spec=new_pod(wanted, "n9", mark(wanted), "lost").spec
    )

    assert gone(done(wanted, revision(wanted), node("n1"), on("n1", wanted), waiting)) == ["lost"]


def test_failed_pods_are_replaced_later_and_later() -> None:
    wanted, backoff = ds(), Backoff()
    first, second = (on("n1", wanted, name, ready=False, phase="Failed") for name in ("one", "two"))

    actions = done(wanted, revision(wanted), node("n1"), first, backoff=backoff)
    assert gone(actions) == ["one"]
    said = only(actions, Emit)[0]
    assert (said.reason, said.message) == (
        "FailedDaemonPod", "Found failed daemon pod a/one on node n1, will try to kill it",
    )  # fmt: skip
    again = done(wanted, revision(wanted), node("n1"), second, backoff=backoff)
    assert gone(again) == []
    assert only(again, Again)[0].seconds == pytest.approx(1.1)
    assert backoff.left(KEY, "n1", second, NOW + timedelta(seconds=2)) == 0
    third = on("n1", wanted, "three", phase="Failed")
    assert backoff.left(KEY, "n1", third, NOW) == 2.0


def test_an_update_replaces_as_many_as_may_be_unavailable() -> None:
    old, new = ds("a"), ds("b", unavailable=2)
    nodes = [node(f"n{i}") for i in range(4)]
    pods = [on(f"n{i}", old) for i in range(4)]

    assert len(gone(done(new, revision(old), revision(new, 2), *nodes, *pods))) == 2
    pods[0] = on("n0", old, ready=False)
    assert gone(done(new, revision(old), revision(new, 2), *nodes, *pods)) == ["web-n0", "web-n1"]


def test_nothing_is_replaced_while_a_node_lacks_its_pod() -> None:
    old, new = ds("a"), ds("b")
    actions = done(new, revision(old), revision(new, 2), node("n1"), node("n2"), on("n1", old))

    assert made_on(actions) == ["n2"]
    assert gone(actions) == []


def test_on_delete_waits_for_the_user() -> None:
    old, new = ds("a"), ds("b", kind="OnDelete")

    assert gone(done(new, revision(old), revision(new, 2), node("n1"), on("n1", old))) == []
    assert made_on(done(new, revision(old), revision(new, 2), node("n1"))) == ["n1"]


def test_surge_starts_the_new_pod_before_the_old_one_goes() -> None:
    old, new = ds("a"), ds("b", surge=1, unavailable=0)
    kept = (revision(old), revision(new, 2), node("n1"), node("n2"))
    before = (on("n1", old), on("n2", old))

    first = done(new, *kept, *before)
    assert (made_on(first), gone(first)) == (["n1"], [])
    starting = done(new, *kept, *before, on("n1", new, "new", ready=False))
    assert (made_on(starting), gone(starting)) == ([], [])
    serving = done(new, *kept, *before, on("n1", new, "new"))
    assert (made_on(serving), gone(serving)) == ([], ["web-n1"])


@pytest.mark.parametrize(
    ("surge", "unavailable", "found"),
    [(0, "30%", (0, 3)), ("10%", 0, (1, 0)), (0, 0, (0, 1)), (0, "1%", (0, 1))],
)
def test_limits_round_up(surge: Any, unavailable: Any, found: tuple[int, int]) -> None:
    assert limits(ds(surge=surge, unavailable=unavailable), 10) == found


def test_a_template_that_comes_back_restarts_nothing() -> None:
    first, second = ds("a"), ds("b")
    pods = (on("n1", first), on("n2", second))
    actions = done(first, revision(first), revision(second, 2), node("n1"), node("n2"), *pods)

    assert gone(actions) == ["web-n2"]
    assert [one.new.revision for one in only(actions, Patch)] == [3]


def test_a_revision_of_the_same_template_restarts_nothing() -> None:
    wanted = ds()
    again = replace(revision(wanted, 2), metadata=replace(revision(wanted, 2).metadata, name="web-again"))
    again = replace(again, metadata=replace(again.metadata, labels={**LABELS, LABEL: "again"}))

    actions = done(wanted, revision(wanted), again, node("n1"), on("n1", wanted))

    assert gone(actions) == []
    assert only(actions, PatchStatus)[0].new.status.updated_number_scheduled == 1


def test_history_goes_beyond_its_limit_but_not_what_pods_have() -> None:
    kept = [revision(ds(image), number) for number, image in enumerate("abcd", 1)]
    wanted = ds("d", revision_history_limit=1, kind="OnDelete")

    actions = done(wanted, *kept, node("n1"), on("n1", ds("a")))
    assert gone(actions) == [kept[1].metadata.name]


def test_a_name_that_is_taken_changes_the_hash() -> None:
    wanted = ds()
    taken = replace(
        revision(wanted), data={"spec": {}}, metadata=replace(revision(wanted).metadata, labels={})
    )
    actions = done(wanted, node("n1"), replace(taken, metadata=replace(taken.metadata, owner_references=())))

    assert only(actions, PatchStatus)[0].new.status.collision_count == 1
    assert only(actions, Create) == []


def test_status_counts_what_serves() -> None:
    wanted = ds(min_ready_seconds=100)
    state = seen(
        wanted, revision(wanted), node("n1"), node("n2"), on("n1", wanted), on("n2", wanted, ready=False)
    )
    status = only(diff(state), PatchStatus)[0].new.status

    assert (status.current_number_scheduled, status.number_ready, status.number_available) == (2, 1, None)
    assert (status.number_unavailable, status.updated_number_scheduled, status.observed_generation) == (
        2,
        2,
        1,
    )
    later = only(diff(changed(state, now=NOW + timedelta(seconds=50))), PatchStatus)[0].new.status
    assert later.number_available == 1
