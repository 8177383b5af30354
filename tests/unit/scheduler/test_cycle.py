"""Which node a pod goes to, and the words when none takes it."""

import numpy as np
import pytest

from kybern.api.core_v1 import (
    Affinity,
    ContainerImage,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PreferredSchedulingTerm,
)
from kybern.scheduler.cycle import schedule
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import attempt, bears, decide, node, pod, table_of, taint


def put(table: Table, one: Pod, where: str) -> None:
    table.place(one.metadata.uid, where, PodFacts.of(one))


def message(one: Pod, table: Table) -> str:
    found = decide(one, table)
    assert isinstance(found, Refused)
    return found.message


def wanting(*requirements: NodeSelectorRequirement) -> Affinity:
    term = NodeSelectorTerm(match_expressions=requirements)
    required = NodeSelector(node_selector_terms=(term,))
    return Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=required))


def test_without_nodes_nobody_takes_a_pod() -> None:
    assert message(pod("p"), Table()) == "no nodes available to schedule pods"


def test_reasons_are_counted_by_node_and_in_upstreams_words() -> None:
    table = table_of(
        node("m1", taints=[taint("node-role.kubernetes.io/control-plane")]),
        node("m2", taints=[taint("node-role.kubernetes.io/control-plane")]),
        node("m3", cordoned=True),
        node("w1", cpu="1"),
        node("w2", cpu="4"),
    )
    put(table, pod("big", cpu="3500m"), "w2")

    assert message(pod("p", cpu="2"), table) == (
        "0/5 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu, 2 node(s) had untolerated taint(s). "
        "preemption: 0/5 nodes are available: 1 No preemption victims found for incoming pod, "
        "4 Preemption is not helpful for scheduling."
    )


def test_a_node_that_lacks_two_things_counts_for_both() -> None:
    table = table_of(node("w1", cpu="1", memory="1Gi"))

    assert "1 Insufficient cpu, 1 Insufficient memory." in message(pod("p", cpu="2", memory="2Gi"), table)


def test_a_full_node_takes_no_pod_more() -> None:
    table = table_of(node("w1", pods="1"))
    put(table, pod("first"), "w1")

    assert "1 Too many pods" in message(pod("p"), table)


def test_a_resource_that_no_node_has_is_named() -> None:
    assert "1 Insufficient example.com/gpu" in message(
        pod("p", extra={"example.com/gpu": "1"}), table_of(node("w1"))
    )


def test_a_host_port_is_given_once() -> None:
    table = table_of(node("w1"), node("w2"))
    put(table, pod("first", ports=(80,)), "w1")

    assert decide(pod("second", ports=(80,)), table) == Placed("w2")
    put(table, pod("second", ports=(80,)), "w2")
    assert "2 node(s) didn't have free ports for the requested pod ports" in message(
        pod("third", ports=(80,)), table
    )
    table.unplace("uid-first")
    assert decide(pod("third", ports=(80,)), table) == Placed("w1")


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (NodeSelectorRequirement(key="disk", operator="In", values=("ssd",)), "w1"),
        (NodeSelectorRequirement(key="disk", operator="NotIn", values=("ssd",)), "w2"),
        (NodeSelectorRequirement(key="disk", operator="Exists"), "w1"),
        (NodeSelectorRequirement(key="disk", operator="DoesNotExist"), "w2"),
        (NodeSelectorRequirement(key="cores", operator="Gt", values=("8",)), "w1"),
        (NodeSelectorRequirement(key="cores", operator="Lt", values=("8",)), "w2"),
    ],
)
def test_required_affinity_selects(requirement: NodeSelectorRequirement, expected: str) -> None:
    table = table_of(node("w1", labels={"disk": "ssd", "cores": "16"}), node("w2", labels={"cores": "4"}))

    assert decide(pod("p", affinity=wanting(requirement)), table) == Placed(expected)


def test_a_term_without_requirements_matches_nothing() -> None:
    assert "1 node(s) didn't match Pod's node affinity/selector" in message(
        pod("p", affinity=wanting()), table_of(node("w1"))
    )


def test_preferred_affinity_outweighs_free_room() -> None:
    preferred = PreferredSchedulingTerm(
        weight=10,
        preference=NodeSelectorTerm(
            match_expressions=(NodeSelectorRequirement(key="disk", operator="Exists"),)
        ),
    )
    affinity = Affinity(
        node_affinity=NodeAffinity(preferred_during_scheduling_ignored_during_execution=(preferred,))
    )
    table = table_of(node("w1", labels={"disk": "ssd"}), node("w2"))
    put(table, pod("busy", cpu="1"), "w1")

    assert decide(pod("p"), table) == Placed("w2")
    assert decide(pod("p", affinity=affinity), table) == Placed("w1")


def test_the_emptier_node_is_preferred_and_so_pods_spread() -> None:
    table = table_of(*(node(f"w{number}") for number in range(4)))

    for number in range(8):
        one = pod(f"p{number}")
        found = decide(one, table)
        assert isinstance(found, Placed)
        put(table, one, found.node)

    assert sorted(table.placed_on(f"uid-p{number}") for number in range(8)) == [
        "w0",
        "w0",
        "w1",
        "w1",
        "w2",
        "w2",
        "w3",
        "w3",
    ]


def test_a_soft_taint_is_avoided_unless_it_is_borne() -> None:
    table = table_of(
        node("w1", taints=[taint("slow", "PreferNoSchedule")]), node("w2", cpu="2", memory="4Gi")
    )

    assert decide(pod("p"), table) == Placed("w2")
    put(table, pod("busy", cpu="1"), "w2")
    assert decide(pod("p", tolerations=(bears("slow"),)), table) == Placed("w1")


def test_a_large_image_that_is_there_draws_the_pod() -> None:
    image = ContainerImage(names=("busybox:latest",), size_bytes=2 << 30)
    table = table_of(node("w1", images=[image]), node("w2"))

    assert decide(pod("p"), table) == Placed("w1")


def test_ties_are_broken_evenly_and_alike_from_the_same_seed() -> None:
    table = table_of(*(node(f"w{number}") for number in range(4)))

    def drawn(seed: int) -> list[Placed | Refused]:
        random = np.random.default_rng(seed)
        return [schedule(attempt(pod("p"), table), random) for _ in range(400)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert all(70 < drawn(7).count(Placed(f"w{number}")) < 130 for number in range(4))
