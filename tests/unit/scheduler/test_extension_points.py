"""What each hook of a plugin can do to a decision."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from kybern.api.core_v1 import Node, Pod
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.cycle import schedule
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import (
    SKIP,
    Attempt,
    Cluster,
    NodeInfo,
    Plugin,
    Refusal,
    Scope,
    Verdict,
    no_score,
)
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.queue import Queue
from kybern.scheduler.room import Numbers
from kybern.scheduler.settling import reserve
from kybern.scheduler.table import Mask, Table
from tests.unit.scheduler.making import attempt, decide, node, pod, table_of


def with_(*plugins: Plugin, percentage: int = 0) -> Profile:
    return replace(Profile.of((*PLUGINS, *plugins)), percentage=percentage)


def of_node(table: Table, *names: str) -> Mask:
    found = np.zeros(table.columns, np.bool_)
    found[[table.index[name] for name in names]] = True
    return found


def refuse_b(_pod: Pod, info: NodeInfo, _cluster: Cluster) -> tuple[str, ...]:
    return ("is b",) if info.node.metadata.name == "b" else ()


def rate_by_name(_pod: Pod, info: NodeInfo, _cluster: Cluster) -> int:
    return 100 if info.node.metadata.name == "c" else 0


def said(found: Placed | Refused) -> str:
    assert isinstance(found, Refused)
    return found.reasons


def test_a_plain_filter_alone_is_enough() -> None:
    profile = with_(Plugin("Plain", refuse=refuse_b))

    assert decide(pod("p"), table_of(node("a"), node("b")), profile=profile) == Placed("a")
    assert said(decide(pod("p"), table_of(node("b")), profile=profile)) == "0/1 nodes are available: 1 is b."


def test_a_plain_score_alone_is_enough() -> None:
    table = table_of(node("a"), node("b"), node("c"))

    assert decide(pod("p"), table, profile=with_(Plugin("Plain", rate=rate_by_name, weight=9))) == Placed("c")


def test_pre_filter_keeps_a_pod_from_every_node_and_nothing_else_is_asked() -> None:
    def never(_facts: PodFacts, _table: Table) -> Iterable[Refusal]:
        raise AssertionError("a filter was asked")

    first = Plugin("First", pre_filter=lambda _attempt: Scope(reason="not today"))
    profile = Profile.of((first, Plugin("Later", filter=never)))
    found = decide(pod("p"), table_of(node("a"), node("b")), profile=profile)

    assert said(found) == "0/2 nodes are available: not today."
    assert isinstance(found, Refused)
    assert (found.plugins, found.helpful) == (frozenset({"First"}), ())


def test_pre_filters_narrow_together() -> None:
    def only(name: str, *names: str) -> Plugin:
        return Plugin(name, pre_filter=lambda attempt: Scope(nodes=of_node(attempt.table, *names)))

    table = table_of(node("a"), node("b"), node("c"))

    assert decide(pod("p"), table, profile=with_(only("X", "a", "b"), only("Y", "b", "c"))) == Placed("b")
    assert said(decide(pod("p"), table, profile=with_(only("X", "a"), only("Y", "b")))) == (
        "0/3 nodes are available: node(s) didn't satisfy plugin(s) [X Y] simultaneously."
    )
    assert said(decide(pod("p", cpu="9"), table, profile=with_(only("Y", "a", "b"), only("X", "b")))) == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [X Y]."
    )


def test_pre_filter_may_stand_in_for_the_filter_or_skip_it() -> None:
    table = table_of(node("a"), node("b"))

    def prepared(attempt: Attempt) -> Scope:
        worked_out = of_node(attempt.table, "a")
        return Scope(filter=lambda _facts, _table: (Refusal(worked_out, "is a"),))

    assert decide(
        pod("p"), table, profile=with_(Plugin("X", pre_filter=prepared, refuse=refuse_b))
    ) == Placed("b")
    skipping = Plugin("X", pre_filter=lambda _attempt: SKIP, refuse=refuse_b)
    assert decide(pod("p"), table_of(node("b")), profile=with_(skipping)) == Placed("b")


def test_pre_score_may_stand_in_for_the_score_or_skip_it() -> None:
    table = table_of(node("a"), node("b"), node("c"))

    def draws(name: str) -> Plugin:
        def score(_facts: PodFacts, table: Table, _left: Mask) -> Numbers:
            return of_node(table, name).astype(np.int64) * 100

        return Plugin("X", pre_score=lambda _attempt, _left: score, rate=rate_by_name, weight=9)

    assert decide(pod("p"), table, profile=with_(draws("b"))) == Placed("b")
    skipping = Plugin("X", pre_score=lambda _attempt, _left: no_score, rate=rate_by_name, weight=9)
    drawn = {decide(pod("p"), table, seed, with_(skipping)) for seed in range(40)}
    assert drawn == {Placed("a"), Placed("b"), Placed("c")}


@pytest.mark.parametrize("percentage", [0, 100])
def test_all_nodes_are_scored_unless_a_percentage_is_told(percentage: int) -> None:
    table = table_of(*(node(f"n{number}") for number in range(300)), node("c"))
    best = Plugin("Best", rate=rate_by_name, weight=50)

    assert decide(pod("p"), table, profile=with_(best, percentage=percentage)) == Placed("c")


def test_with_a_percentage_a_part_of_the_nodes_is_scored_and_another_one_next_time() -> None:
    table = table_of(*(node(f"n{number}") for number in range(300)))
    best = Plugin(
        "Best", rate=lambda _pod, info, _cluster: int(info.node.metadata.name == "n299") * 100, weight=50
    )
    profile = with_(best, percentage=40)
    where = table.index["n299"]

    def goes(start: int) -> Placed | Refused:
        return schedule(attempt(pod("p"), table, profile), np.random.default_rng(1), start)

    assert goes(where - 100) == Placed("n299")
    assert goes(where + 1) != Placed("n299")
    assert goes(where - 119) == Placed("n299")
    assert goes(where - 120) != Placed("n299")


def test_who_is_first_in_the_queue_is_the_plugin_s_choice() -> None:
    by_name = Plugin("ByName", sort=lambda facts, _since: (facts.pod.metadata.name,))
    queue = Queue({"default-scheduler": Profile.of((by_name,))})

    for at, name in enumerate("cab"):
        queue.set(PodFacts.of(pod(name, priority=at)), float(at))

    assert [queue.pop(9.0).facts.pod.metadata.name for _ in "abc"] == ["a", "b", "c"]  # type: ignore[union-attr]


def test_a_gate_opens_when_what_it_waits_for_happens() -> None:
    open_ = False
    wakes = (Wake(Node, Action.ADDED, lambda _facts, _what: open_),)
    gate = Plugin("Gate", pre_enqueue=lambda _pod: None if open_ else "not yet", wakes=wakes)
    queue = Queue({"default-scheduler": Profile.of((*PLUGINS, gate))})
    queue.set(PodFacts.of(pod("p")), 0.0)

    assert queue.pop(0.0) is None
    queue.changed(Happening(Node, Action.ADDED, node("n")), 1.0)
    assert queue.counts()["gated"] == 1
    open_ = True
    queue.changed(Happening(Node, Action.ADDED, node("n")), 2.0)
    assert queue.pop(2.0) is not None


def test_a_plugin_that_says_nothing_of_what_helps_is_helped_by_anything() -> None:
    queue = Queue({"default-scheduler": with_(Plugin("Silent", refuse=refuse_b))})
    queue.set(PodFacts.of(pod("p")), 0.0)
    waiting = queue.pop(0.0)
    assert waiting is not None
    queue.refused(waiting, frozenset({"Silent"}))

    queue.changed(Happening(Pod, Action.GONE, old=pod("x")), 5.0)

    assert queue.pop(5.0) is waiting


def test_what_changed_during_an_attempt_is_not_missed() -> None:
    queue = Queue({"default-scheduler": Profile.of(PLUGINS)})
    queue.set(PodFacts.of(pod("p")), 0.0)
    waiting = queue.pop(0.0)
    assert waiting is not None
    queue.changed(Happening(Node, Action.ADDED, node("n")), 0.1)

    queue.refused(waiting, frozenset({"NodeResourcesFit"}))

    assert queue.counts()["backoff"] == 1
    assert queue.pop(1.0) is waiting


def holding(name: str, log: list[str], why: str = "") -> Plugin:
    def take(_attempt: Attempt, node: str) -> str:
        log.append(f"{name} takes {node}")
        return why

    return Plugin(
        name, reserve=take, unreserve=lambda _attempt, node: log.append(f"{name} gives back {node}")
    )


def test_what_was_reserved_is_given_back_in_reverse_when_one_cannot() -> None:
    log: list[str] = []
    profile = with_(holding("A", log), holding("B", log, "nothing left"), holding("C", log))

    found = reserve(attempt(pod("p"), table_of(node("n")), profile), "n")

    assert found is not None
    assert (found.reasons, found.plugins) == ("0/1 nodes are available: 1 nothing left.", frozenset({"B"}))
    assert log == ["A takes n", "B takes n", "C gives back n", "B gives back n", "A gives back n"]


def test_permit_refuses_and_gives_back() -> None:
    log: list[str] = []
    no = Plugin("No", permit=lambda _attempt, _node: Verdict("not there"))

    found = reserve(attempt(pod("p"), table_of(node("n")), with_(holding("A", log), no)), "n")

    assert found is not None
    assert (found.reasons, found.plugins) == ("0/1 nodes are available: 1 not there.", frozenset({"No"}))
    assert log == ["A takes n", "A gives back n"]


def test_permit_lets_wait_and_the_pod_is_parked() -> None:
    slow = Plugin("Slow", permit=lambda _attempt, _node: Verdict(wait=5.0))
    forever = Plugin("Forever", permit=lambda _attempt, _node: Verdict(wait=1e9))
    one = attempt(pod("p"), table_of(node("n")), with_(slow, forever))

    assert reserve(one, "n") is None
    (waiter,) = one.parked
    assert (waiter.node, waiter.pending) == ("n", {"Slow": 5.0, "Forever": 900.0})


def test_the_state_of_an_attempt_goes_from_hook_to_hook() -> None:
    def keep(attempt: Attempt) -> None:
        attempt.state["X"] = "kept"

    plugin = Plugin("X", pre_filter=keep, reserve=lambda attempt, _node: attempt.state["X"])
    one = attempt(pod("p"), table_of(node("n")), with_(plugin))
    assert schedule(one, np.random.default_rng(1)) == Placed("n")

    found = reserve(one, "n")

    assert found is not None
    assert "1 kept." in found.reasons
