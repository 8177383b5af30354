"""Pods with and away from other pods."""

from typing import Any

import pytest

from kybern.api.core_v1 import (
    Affinity,
    Namespace,
    Node,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    WeightedPodAffinityTerm,
)
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import inter_pod_affinity
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import decide, node, pod, table_of

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


def term(app: str = "web", key: str = ZONE, **more: Any) -> PodAffinityTerm:
    return PodAffinityTerm(topology_key=key, label_selector=LabelSelector(match_labels={"app": app}), **more)


def with_(*terms: PodAffinityTerm) -> Affinity:
    return Affinity(pod_affinity=PodAffinity(required_during_scheduling_ignored_during_execution=terms))


def away(*terms: PodAffinityTerm) -> Affinity:
    return Affinity(
        pod_anti_affinity=PodAntiAffinity(required_during_scheduling_ignored_during_execution=terms)
    )


def rather(one: PodAffinityTerm, weight: int) -> Affinity:
    terms = (WeightedPodAffinityTerm(pod_affinity_term=one, weight=abs(weight)),)
    if weight > 0:
        return Affinity(pod_affinity=PodAffinity(preferred_during_scheduling_ignored_during_execution=terms))
    return Affinity(
        pod_anti_affinity=PodAntiAffinity(preferred_during_scheduling_ignored_during_execution=terms)
    )


def zones() -> Table:
    """Two nodes in zone a, one in b, one in none."""
    return table_of(
        node("a1", labels={ZONE: "a"}),
        node("a2", labels={ZONE: "a"}),
        node("b1", labels={ZONE: "b"}),
        node("x1"),
    )


def put(table: Table, one: Pod, where: str) -> None:
    table.place(one.metadata.uid, where, PodFacts.of(one))


def where(one: Pod, table: Table) -> set[str]:
    """All nodes that a pod may come to."""
    found = (decide(one, table, seed) for seed in range(30))
    return {each.node for each in found if isinstance(each, Placed)}


def message(one: Pod, table: Table) -> str:
    found = decide(one, table)
    assert isinstance(found, Refused)
    return found.message


def web(name: str = "w", **more: Any) -> Pod:
    return pod(name, labels={"app": "web"}, **more)


def test_a_pod_goes_where_its_like_is() -> None:
    table = zones()
    put(table, web(), "a1")

    assert where(pod("p", affinity=with_(term())), table) <= {"a1", "a2"}
    assert where(pod("p", affinity=with_(term(key=HOST))), table) == {"a1"}


def test_without_its_like_a_pod_goes_nowhere_and_says_why() -> None:
    assert message(pod("p", affinity=with_(term())), zones()) == (
        "0/4 nodes are available: 4 node(s) didn't match pod affinity rules. preemption: 0/4 nodes are available: "
        "4 Preemption is not helpful for scheduling."
    )


def test_the_first_that_wants_to_be_with_its_like_goes_anywhere_that_has_the_label() -> None:
    table = zones()

    assert where(web("p", affinity=with_(term())), table) <= {"a1", "a2", "b1"}
    put(table, web("first"), "b1")
    assert where(web("p", affinity=with_(term())), table) == {"b1"}


def test_a_pod_stays_away_and_is_kept_away() -> None:
    table = zones()
    put(table, web("first", affinity=away(term("db"))), "a1")

    assert "1 node(s) didn't match pod anti-affinity rules" in message(
        pod("p", affinity=away(term(key=HOST)), node_selector={HOST: "a1"}), table
    )
    assert where(pod("db", labels={"app": "db"}), table) <= {"b1", "x1"}
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in message(
        pod("db", labels={"app": "db"}, node_selector={HOST: "a2"}), table
    )


def test_one_for_each_host() -> None:
    table = zones()
    for number in range(4):
        one = web(f"p{number}", affinity=away(term(key=HOST)))
        found = decide(one, table)
        assert isinstance(found, Placed)
        put(table, one, found.node)

    assert {table.placed_on(f"uid-p{number}") for number in range(4)} == {"a1", "a2", "b1", "x1"}
    assert "4 node(s) didn't match pod anti-affinity rules" in message(
        web("p", affinity=away(term(key=HOST))), table
    )


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, False),
        ({"namespaces": ("other",)}, True),
        ({"namespace_selector": LabelSelector()}, True),
        ({"namespace_selector": LabelSelector(match_labels={"team": "x"})}, True),
        ({"namespace_selector": LabelSelector(match_labels={"team": "y"})}, False),
    ],
)
def test_other_namespaces_count_when_they_are_meant(more: dict[str, Any], fits: bool) -> None:
    table = zones()
    table.set_object(Namespace(metadata=ObjectMeta(name="other", labels={"team": "x"})))
    put(table, web(namespace="other"), "b1")

    assert where(pod("p", affinity=with_(term(**more))), table) == ({"b1"} if fits else set())


def test_a_namespace_that_changes_its_labels_changes_who_is_meant() -> None:
    table = zones()
    put(table, web(namespace="other"), "b1")
    wanted = pod("p", affinity=with_(term(namespace_selector=LabelSelector(match_labels={"team": "x"}))))

    assert where(wanted, table) == set()
    table.set_object(Namespace(metadata=ObjectMeta(name="other", labels={"team": "x"})))
    assert where(wanted, table) == {"b1"}


@pytest.mark.parametrize(("weight", "expected"), [(10, {"a1", "a2"}), (-10, {"b1", "x1"})])
def test_wishes_of_the_pod_and_of_those_that_are_there(weight: int, expected: set[str]) -> None:
    table = zones()
    put(table, web("w", affinity=rather(term("db"), weight)), "a1")

    assert where(pod("p", affinity=rather(term(), weight)), table) <= expected
    assert where(pod("db", labels={"app": "db"}), table) <= expected


def test_what_is_gone_is_forgotten() -> None:
    table = zones()
    put(table, web("w", affinity=away(term("db"))), "a1")
    table.unplace("uid-w")
    table.remove_node("a2")
    table.set_node(node("c1", labels={ZONE: "c"}))

    assert where(pod("db", labels={"app": "db"}), table) == {"a1", "b1", "c1", "x1"}


NEEDS, REFUSES = pod("p", affinity=with_(term())), pod("p", affinity=away(term()))


@pytest.mark.parametrize(
    ("wanted", "what", "wakes"),
    [
        (NEEDS, Happening(Pod, Action.ADDED, web()), True),
        (NEEDS, Happening(Pod, Action.ADDED, pod("o")), False),
        (NEEDS, Happening(Pod, Action.GONE, old=web()), False),
        (REFUSES, Happening(Pod, Action.GONE, old=web()), True),
        (REFUSES, Happening(Pod, Action.GONE, old=pod("o")), False),
        (web(), Happening(Pod, Action.GONE, old=pod("o", affinity=away(term()))), True),
        (NEEDS, Happening(Pod, Action.CHANGED, web(), pod("w")), True),
        (NEEDS, Happening(Node, Action.CHANGED, node("w"), node("w")), False),
        (NEEDS, Happening(Node, Action.CHANGED, node("w", labels={ZONE: "a"}), node("w")), True),
    ],
)
def test_what_could_help(wanted: Pod, what: Happening, wakes: bool) -> None:
    found = any(
        wake.hint(PodFacts.of(wanted), what) for wake in inter_pod_affinity.PLUGIN.wakes if wake.hears(what)
    )

    assert found is wakes
