"""Who leaves for a pod of higher priority, and from which node."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from kybern.api.core_v1 import Pod, PodCondition, PodStatus
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus
from kybern.machinery.struct import replace
from kybern.scheduler.cycle import schedule
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo
from kybern.scheduler.outcomes import Refused
from kybern.scheduler.preemption import (
    NEVER,
    REASON,
    WAITING,
    Victims,
    best,
    candidates,
    ineligible,
    shortlist,
)
from kybern.scheduler.promises import Promises
from tests.unit.scheduler.making import DEFAULT, attempt, decide, node, pod, table_of

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def running(name: str, cpu: str, priority: int = 0, age: int = 0, **labels: str) -> Pod:
    """A pod that has been running for ``age`` hours longer than others."""
    found = pod(name, cpu, priority=priority)
    return replace(
        found,
        metadata=replace(found.metadata, labels=labels),
        status=PodStatus(start_time=BEGAN - timedelta(hours=age)),
    )


def budget(allowed: int, **labels: str) -> PodDisruptionBudget:
    return PodDisruptionBudget(
        metadata=ObjectMeta(namespace="default", name="b"),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels=labels)),
        status=PodDisruptionBudgetStatus(disruptions_allowed=allowed),
    )


def chosen(
    one: Pod, nodes: dict[str, list[Pod]], *budgets: PodDisruptionBudget
) -> tuple[str, set[str]] | None:
    cluster = Cluster(tuple(NodeInfo(node(name, cpu="4"), tuple(pods)) for name, pods in nodes.items()))
    refuses = [plugin.refuse for plugin in DEFAULT.at["filter"] if plugin.refuse]
    found = best(candidates(one, nodes, cluster, refuses, budgets))
    return None if found is None else (found.node, {each.metadata.name for each in found.pods})


def test_nobody_leaves_for_an_equal() -> None:
    assert chosen(pod("p", "2", priority=5), {"n": [running("a", "3", 5)]}) is None


def test_nobody_leaves_where_it_would_not_help() -> None:
    nodes = {"n": [running("a", "3", 9), running("b", "1", 1)]}

    assert chosen(pod("p", "2", priority=5), nodes) is None


def test_as_many_as_possible_stay_and_the_important_first() -> None:
    pods = [running("low", "1", 1), running("mid", "1", 2), running("high", "1", 3), running("top", "1", 9)]

    assert chosen(pod("p", "1", priority=5), {"n": pods}) == ("n", {"low"})
    assert chosen(pod("p", "2", priority=5), {"n": pods}) == ("n", {"low", "mid"})


def test_among_equals_who_runs_longer_stays() -> None:
    pods = [running("young", "2", 1), running("old", "2", 1, age=5)]

    assert chosen(pod("p", "2", priority=5), {"n": pods}) == ("n", {"young"})


@pytest.mark.parametrize(
    ("nodes", "best"),
    [
        ({"a": [running("x", "4", 3)], "b": [running("y", "4", 2)]}, "b"),
        ({"a": [running("x", "2", 2), running("z", "2", 2)], "b": [running("y", "4", 2)]}, "b"),
        ({"a": [running("x", "2", 2), running("z", "2", -5)], "b": [running("y", "4", 2)]}, "b"),
        ({"a": [running("x", "4", 2, age=9)], "b": [running("y", "4", 2, age=1)]}, "b"),
        ({"a": [running("x", "4", 1, app="kept")], "b": [running("y", "4", 3)]}, "b"),
    ],
    ids=["lower victims", "fewer victims", "fewer even of negative priority", "later start", "budgets first"],
)
def test_the_node_that_loses_least_is_chosen(nodes: dict[str, list[Pod]], best: str) -> None:
    found = chosen(pod("p", "4", priority=5), nodes, budget(0, app="kept"))

    assert found is not None
    assert found[0] == best


def test_who_is_protected_by_a_budget_stays_before_the_more_important() -> None:
    pods = [running("kept", "2", 1, app="kept"), running("free", "2", 3)]

    assert chosen(pod("p", "2", priority=5), {"n": pods}, budget(0, app="kept")) == ("n", {"free"})
    assert chosen(pod("p", "2", priority=5), {"n": pods}, budget(1, app="kept")) == ("n", {"kept"})
    assert chosen(pod("p", "4", priority=5), {"n": pods}, budget(0, app="kept")) == ("n", {"kept", "free"})


def test_the_search_goes_on_until_somewhere_no_budget_is_broken() -> None:
    broken, kept = Victims("a", (running("x", "1"),), 1), Victims("b", (running("y", "1"),), 0)

    assert shortlist([kept, broken, kept], 1) == [kept]
    assert shortlist([broken, broken, kept, kept], 1) == [broken, broken, kept]
    assert shortlist([broken, kept, kept, kept], 3) == [broken, kept, kept]
    assert shortlist([broken], 5) == [broken]


def leaving(one: Pod) -> Pod:
    told = PodCondition(type="DisruptionTarget", status="True", reason=REASON)
    metadata = replace(one.metadata, deletion_timestamp=BEGAN)
    return replace(one, metadata=metadata, status=replace(one.status, conditions=(told,)))


@pytest.mark.parametrize(
    ("changes", "on", "gone", "why"),
    [
        ({"preemption_policy": "Never"}, [], set(), NEVER),
        ({}, [leaving(running("v", "1", 1))], set(), WAITING),
        ({}, [running("v", "1", 1)], {"uid-v"}, WAITING),
        ({}, [leaving(running("v", "1", 9))], set(), ""),
        ({}, [running("v", "1", 1)], set(), ""),
    ],
)
def test_who_may_make_others_leave(changes: dict[str, Any], on: list[Pod], gone: set[str], why: str) -> None:
    assert ineligible(pod("p", "1", priority=5, **changes), on, gone) == why


def test_promised_room_is_kept_from_those_below_and_not_from_those_above() -> None:
    table, promises = table_of(node("n", cpu="4")), Promises()
    promises.make("n", PodFacts.of(pod("important", "3", priority=5)))

    def fits(one: Pod) -> bool:
        with promises.kept(one, table):
            return not isinstance(decide(one, table), Refused)

    assert not fits(pod("p", "2", priority=1))
    assert fits(pod("small", "1", priority=1))
    assert fits(pod("above", "2", priority=9))
    assert not table.placed_on("uid-important"), "it counts for one decision only"


def test_who_takes_a_promised_node_voids_the_promises_below() -> None:
    promises = Promises()
    low = pod("low", priority=1)
    promises.make("n", PodFacts.of(low))

    assert promises.make("n", PodFacts.of(pod("high", priority=5))) == (low,)
    assert (promises.of("uid-low"), promises.of("uid-high")) == ("", "n")


def test_the_promised_node_is_taken_before_a_better_one() -> None:
    table = table_of(node("a", cpu="8"), node("b", cpu="4"))

    promises = Promises()
    promises.make("b", PodFacts.of(pod("p", "1")))

    found = schedule(attempt(pod("p", "1"), table, promises=promises), np.random.default_rng(1))

    assert getattr(found, "node", "") == "b"
