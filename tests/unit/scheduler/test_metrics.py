"""What is measured and counted, and under which names."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram

from kybern.api.core_v1 import Node, NodeSpec, NodeStatus, PersistentVolume, Pod, PodSchedulingGate
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import ResourceClaim
from kybern.api.storage_v1 import CSINode
from kybern.daemon.tally import Tallies, powers
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.cycle import schedule
from kybern.scheduler.event_labels import label, of_waiting
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import SKIP, Attempt, Plugin, Scope, Verdict, no_score
from kybern.scheduler.metrics import AFTER_FLUSH, POINTS, SLI, Figures, bound
from kybern.scheduler.metrics import PLUGINS as OF_PLUGINS
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.queue import DELAYS, Queue
from kybern.scheduler.stopwatch import SAMPLE, Sampled, Stopwatch, measuring
from tests.unit.scheduler.making import DEFAULT, attempt, bears, node, pod, table_of


def read(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in registry.collect()
        for one in family.samples
        if not one.name.endswith("_created")
    }


def test_a_tally_reads_as_a_histogram_does() -> None:
    bounds = powers(0.001, 2, 5)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("x_seconds", "said", ("result",), bounds, ours)
    histogram = Histogram("x_seconds", "said", ["result"], buckets=bounds, registry=theirs)
    for value in (0.0, 0.001, 0.0011, 0.005, 3.0):
        tallies.of("good").observe(value)
        histogram.labels("good").observe(value)

    assert read(ours) == read(theirs)
    assert ("x_seconds_bucket", frozenset({("result", "good"), ("le", "0.002")})) in read(ours)


def queue(*pods: Pod) -> Queue:
    made = Queue({DEFAULT.name: DEFAULT})
    for one in pods:
        made.set(PodFacts.of(one), 1.0)
    return made


def gated(*gates: str) -> Pod:
    return pod("g", scheduling_gates=tuple(PodSchedulingGate(name=one) for one in gates))


def test_who_comes_to_a_queue_is_counted_with_the_reason() -> None:
    one = queue(pod("p"), gated("a"))
    waiting = one.pop(2)
    assert waiting is not None
    one.refused(waiting, frozenset({"NodeAffinity"}))
    one.changed(Happening(Node, Action.ADDED, node("w")), 2.5)
    one.pop(10)
    one.failed(waiting)
    one.set(PodFacts.of(gated()), 10)

    assert one.incoming == {
        ("active", "UnschedulablePodAdd"): 1,
        ("unschedulable", "UnschedulablePodAdd"): 1,
        ("unschedulable", "ScheduleAttemptFailure"): 1,
        ("backoff", "NodeAdd"): 1,
        ("active", "BackoffComplete"): 1,
        ("backoff", "ScheduleAttemptFailure"): 1,
        ("active", "UnschedulablePodUpdatePodSchedulingGatesEliminated"): 1,
    }


def test_a_pod_that_waits_long_and_one_that_a_plugin_names_are_counted_as_such() -> None:
    one = queue(pod("p"), pod("q"))
    for _ in range(2):
        waiting = one.pop(2)
        assert waiting is not None
        one.refused(waiting, frozenset({"NodeAffinity"}))
    one.activate("uid-q", 5)
    one.flush(3 + DELAYS.refused)

    assert one.incoming["active", "ForceActivate"] == one.incoming["active", "UnschedulableTimeout"] == 1


def figures(one: Queue, *placed: Pod) -> Callable[[str], dict[tuple[str, ...], float]]:
    table = table_of(node("a"), node("b"))
    for each in placed:
        table.place(each.metadata.uid, "a", PodFacts.of(each))
    registry = CollectorRegistry()
    registry.register(Figures(one, table))
    found = read(registry)
    return lambda name: {
        tuple(sorted(value for _, value in labels)): number
        for (known, labels), number in found.items()
        if known == name and number
    }


def test_figures_tell_who_waits_where_who_refused_and_what_is_known() -> None:
    one = queue(pod("p"), pod("q"), gated("a"))
    waiting = one.pop(2)
    assert waiting is not None
    one.refused(waiting, frozenset({"NodeAffinity", "NodePorts"}))
    found = figures(one, pod("q"), pod("old"))

    assert found("scheduler_pending_pods") == {("active",): 1, ("unschedulable",): 1, ("gated",): 1}
    name = DEFAULT.name
    assert found("scheduler_unschedulable_pods") == {
        ("NodeAffinity", name): 1,
        ("NodePorts", name): 1,
        ("SchedulingGates", name): 1,
    }
    assert found("scheduler_cache_size") == {("nodes",): 2, ("pods",): 2, ("assumed_pods",): 1}
    assert found("scheduler_queue_incoming_pods_total")["ScheduleAttemptFailure", "unschedulable"] == 1


def test_nobody_is_refused_while_it_is_tried() -> None:
    one = queue(pod("p"))
    waiting = one.pop(2)
    assert waiting is not None
    one.refused(waiting, frozenset({"NodeAffinity"}))
    one.changed(Happening(Node, Action.ADDED, node("w")), 20)
    assert one.refusals() == {("NodeAffinity", DEFAULT.name): 1}

    assert one.pop(20) is waiting

    assert one.refusals() == {}


def test_the_way_to_a_binding_is_counted_from_when_no_gate_is_left() -> None:
    one = queue(gated("a"))
    one.set(PodFacts.of(gated()), 100.0)
    waiting = one.pop(100)
    assert waiting is not None
    waiting.attempts = 20
    before = SLI.of("15+").total

    bound(waiting, 103.0)

    assert SLI.of("15+").total - before == 3.0


def a_node(**more: Any) -> Node:
    spec = NodeSpec(unschedulable=more.pop("cordoned", None), taints=more.pop("taints", ()))
    meta = ObjectMeta(name="n", labels=more.pop("labels", {}), annotations=more.pop("annotations", {}))
    return Node(metadata=meta, spec=spec, status=NodeStatus(**more))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (Happening(Node, Action.GONE, old=a_node()), "NodeDelete"),
        (Happening(Node, Action.CHANGED, a_node(), a_node(cordoned=True)), "NodeUpdateNodeTaint"),
        (
            Happening(Node, Action.CHANGED, a_node(allocatable={"cpu": "1"}), a_node()),
            "NodeUpdateNodeAllocatable",
        ),
        (Happening(Node, Action.CHANGED, a_node(labels={"a": "b"}), a_node()), "NodeUpdateNodeLabel"),
        (
            Happening(Node, Action.CHANGED, a_node(annotations={"a": "b"}), a_node()),
            "NodeUpdateNodeAnnotation",
        ),
        (
            Happening(Node, Action.CHANGED, a_node(declared_features=("X",)), a_node()),
            "NodeUpdateNodeDeclaredFeature",
        ),
        (Happening(Node, Action.CHANGED, a_node(), a_node()), "NodeUpdate"),
        (Happening(Pod, Action.ADDED, pod("p")), "AssignedPodAdd"),
        (Happening(Pod, Action.GONE, old=pod("p")), "AssignedPodDelete"),
        (
            Happening(Pod, Action.CHANGED, pod("p", cpu="1"), pod("p", cpu="2")),
            "AssignedPodUpdatePodScaleDown",
        ),
        (Happening(PersistentVolume, Action.ADDED), "PersistentVolumeAdd"),
        (Happening(CSINode, Action.CHANGED), "storage.k8s.io/CSINodeUpdate"),
        (Happening(ResourceClaim, Action.GONE), "resource.k8s.io/ResourceClaimDelete"),
    ],
)
def test_a_change_has_upstream_s_name(what: Happening, said: str) -> None:
    assert label(what) == said


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (pod("p", labels={"a": "b"}), "UnschedulablePodUpdatePodLabel"),
        (pod("p", tolerations=(bears("x"),)), "UnschedulablePodUpdatePodToleration"),
        (pod("p", node_selector={"a": "b"}), "UnschedulablePodUpdate"),
    ],
)
def test_a_change_of_a_waiting_pod_has_upstream_s_name(new: Pod, said: str) -> None:
    assert of_waiting(pod("p"), new) == said


def seen(tallies: Tallies, *labels: str) -> int:
    return sum(tallies.of(*labels).counts)


def times(tallies: Tallies, each: Iterable[tuple[str, ...]], do: Callable[[], Any]) -> list[int]:
    """How often each series got a value."""
    before = [seen(tallies, *labels) for labels in each]
    do()
    return [seen(tallies, *labels) - was for labels, was in zip(each, before, strict=True)]


def test_each_extension_point_of_a_decision_is_measured_once() -> None:
    table = table_of(node("a"), node("b"))

    def decide() -> None:
        one = attempt(pod("p"), table)
        schedule(replace(one, timing=Stopwatch("default-scheduler")), np.random.default_rng(1))

    each = [
        (point, "Success", "default-scheduler")
        for point in ("PreFilter", "Filter", "PreScore", "Score", "PostFilter")
    ]
    assert times(POINTS, each, decide) == [1, 1, 1, 1, 0]


def test_the_plugins_of_one_attempt_in_ten_are_measured() -> None:
    sampled = Sampled({DEFAULT.name: DEFAULT})

    drawn = [sampled.next(DEFAULT.name) for _ in range(2 * SAMPLE)]

    assert sum(one is not DEFAULT for one in drawn) == 2


def test_measured_plugins_decide_the_same() -> None:
    table = table_of(node("a", cpu="1"), node("b", cpu="9"), node("c", taints=[]))
    for one in (pod("p", cpu="2"), pod("q", cpu="50"), pod("r", ports=(80,))):
        decisions = [
            schedule(attempt(one, table, profile), np.random.default_rng(3))
            for profile in (DEFAULT, measuring(DEFAULT))
        ]
        assert decisions[0] == decisions[1]


def test_a_plugin_is_measured_at_each_of_its_points_with_what_came_of_it() -> None:
    def pre_filter(_attempt: Attempt) -> Scope:
        return Scope(filter=lambda _facts, _table: ())

    one = Plugin(
        "Example",
        pre_filter=pre_filter,
        refuse=lambda _pod, _info, _cluster: ("never",),
        pre_score=lambda _attempt, _left: no_score,
        rate=lambda _pod, _info, _cluster: 0,
        reserve=lambda _attempt, _node: "no",
        permit=lambda _attempt, _node: Verdict(wait=3),
    )
    profile = measuring(Profile.of((*PLUGINS, one)))
    table = table_of(node("a"), node("b"))
    made = attempt(pod("p"), table, profile)

    def run() -> None:
        schedule(made, np.random.default_rng(1))
        (plugin,) = [each for each in profile.plugins if each.name == "Example"]
        assert plugin.reserve
        assert plugin.permit
        assert plugin.reserve(made, "a") == "no"
        assert plugin.permit(made, "a") == Verdict(wait=3)

    each = [
        ("Example", "PreFilter", "Success"),
        ("Example", "Filter", "Success"),
        ("Example", "PreScore", "Skip"),
        ("Example", "Reserve", "Unschedulable"),
        ("Example", "Permit", "Wait"),
    ]
    assert times(OF_PLUGINS, each, run) == [1, 1, 1, 1, 1]


def test_a_plain_filter_is_measured_too_and_one_that_is_skipped_is_not() -> None:
    plain = Plugin("Plain", refuse=lambda _pod, _info, _cluster: ("never",))
    skips = Plugin("Skips", pre_filter=lambda _attempt: SKIP, refuse=lambda _pod, _info, _cluster: ("never",))
    profile = measuring(Profile.of((skips, plain)))

    each = [
        ("Plain", "Filter", "Unschedulable"),
        ("Skips", "PreFilter", "Skip"),
        ("Skips", "Filter", "Unschedulable"),
    ]
    table = table_of(node("a"))
    assert times(
        OF_PLUGINS, each, lambda: schedule(attempt(pod("p"), table, profile), np.random.default_rng(1))
    ) == [1, 1, 0]


def test_each_plugin_that_had_a_say_is_counted() -> None:
    measured = replace(DEFAULT, name="counted")
    table = table_of(node("a"), node("b"))
    one = Attempt(PodFacts.of(pod("p")), table, measured, timing=Stopwatch("counted"))
    schedule(one, np.random.default_rng(1))
    found = figures(queue())("scheduler_plugin_evaluation_total")

    def said(point: str) -> set[str]:
        asked = [key for key, number in found.items() if {"counted", point} <= set(key) and number == 1]
        return {name for key in asked for name in key} - {"counted", point}

    assert {"NodeAffinity", "VolumeZone"} <= said("PreFilter")
    assert {"NodeResourcesFit", "NodePorts"} <= said("Filter")
    assert "VolumeZone" not in said("Filter"), "it has nothing to say of a pod without volumes"
    assert "NodeResourcesBalancedAllocation" in said("Score")


def test_changes_are_kept_for_as_long_as_a_pod_is_tried() -> None:
    one = queue(pod("p"))
    waiting = one.pop(2)
    assert waiting is not None
    one.changed(Happening(Node, Action.ADDED, node("w")), 2.5)
    assert figures(one)("scheduler_inflight_events") == {("NodeAdd",): 1}

    one.refused(waiting, frozenset({"NodePorts"}))

    assert figures(one)("scheduler_inflight_events") == {}


def test_a_pod_that_only_time_had_tried_again_is_counted_when_it_is_bound() -> None:
    def after_flush() -> float:
        return float(AFTER_FLUSH._value.get())

    one, before = queue(pod("p")), after_flush()
    waiting = one.pop(2)
    assert waiting is not None
    one.refused(waiting, frozenset({"NodeAffinity"}))
    assert not waiting.flushed

    one.flush(3 + DELAYS.refused)
    assert one.pop(3 + DELAYS.refused) is waiting
    bound(waiting, 400.0)

    assert after_flush() == before + 1
