"""Which pod is next, and when one is tried again."""

import pytest

from kybern.api.core_v1 import Node, Pod, PodResourceClaimStatus, PodSchedulingGate, PodStatus
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.queue import DELAYS, RECENT, Queue, Waiting
from tests.unit.scheduler.making import DEFAULT, bears, node, pod, taint


def facts(name: str, priority: int = 0) -> PodFacts:
    return PodFacts.of(pod(name, priority=priority))


def queue(*found: PodFacts) -> Queue:
    made = Queue({DEFAULT.name: DEFAULT})
    for number, one in enumerate(found):
        made.set(one, float(number))
    return made


def name(waiting: Waiting | None) -> str:
    return waiting.facts.pod.metadata.name if waiting else ""


def test_the_more_important_and_then_the_older_comes_first() -> None:
    one = queue(facts("old"), facts("young"), facts("important", 100))

    assert [name(one.pop(5)) for _ in range(4)] == ["important", "old", "young", ""]


def test_a_refused_pod_waits_for_a_change_that_matters_to_who_refused_it() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    one.refused(waiting, frozenset({"NodeAffinity"}))

    one.changed(Happening(Pod, Action.GONE, old=pod("other")), 20)
    assert one.pop(20) is None
    one.changed(Happening(Node, Action.ADDED, node("w1")), 20)
    assert name(one.pop(20)) == "p"


FREED = Happening(Pod, Action.GONE, old=pod("other", cpu="1"))


def refused(one: Queue, now: float, *by: str) -> Waiting:
    """The next pod, tried in vain."""
    waiting = one.pop(now)
    assert waiting
    one.refused(waiting, frozenset(by or ("NodeResourcesFit",)))
    return waiting


def test_the_delay_between_attempts_doubles_up_to_ten_seconds() -> None:
    one = queue(facts("p"))
    now, delays = 100.0, []
    for _ in range(6):
        waiting = one.pop(now)
        assert waiting
        one.failed(waiting)
        ends = one.next_at()
        assert ends
        assert one.pop(ends - 0.01) is None
        delays.append(ends - now)
        now = ends

    assert delays == [1, 2, 4, 8, 10, 10]


def test_errors_and_refusals_are_counted_apart() -> None:
    one = queue(PodFacts.of(pod("p", cpu="1")))
    for now in (10.0, 20.0, 30.0):
        waiting = refused(one, now)
        one.changed(FREED, now)
    assert one.backoff_ends(waiting) == 34

    waiting = one.pop(40.0) or waiting
    one.failed(waiting)

    assert one.backoff_ends(waiting) == 41


def test_a_refused_pod_is_tried_before_its_delay_is_over_when_nobody_else_waits() -> None:
    one = queue(PodFacts.of(pod("p", cpu="1")), facts("q"))
    refused(one, 10)
    one.changed(FREED, 10)
    assert one.counts() == {"active": 1, "backoff": 1, "unschedulable": 0, "gated": 0}

    assert [name(one.pop(10)) for _ in range(3)] == ["q", "p", ""]
    assert one.incoming["active", "PopFromBackoffQ"] == 1


def test_what_came_while_a_pod_was_tried_counts_only_if_it_could_help() -> None:
    one = queue(PodFacts.of(pod("p", cpu="1")))
    waiting = one.pop(10)
    assert waiting
    one.changed(Happening(Pod, Action.ADDED, pod("other", cpu="1")), 10)
    one.refused(waiting, frozenset({"NodeResourcesFit"}))
    assert one.pop(60) is None

    one.changed(FREED, 60)
    waiting = one.pop(60)
    assert waiting
    one.changed(FREED, 61)
    one.changed(Happening(Pod, Action.ADDED, pod("other", cpu="1")), 61)
    one.refused(waiting, frozenset({"NodeResourcesFit"}))
    assert name(one.pop(61)) == "p"


def test_more_changes_than_are_remembered_may_have_helped() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    for _ in range(RECENT + 1):
        one.changed(Happening(Pod, Action.ADDED, pod("other")), 10)

    one.refused(waiting, frozenset({"NodeResourcesFit"}))

    assert name(one.pop(10)) == "p"


def test_a_pod_that_changed_while_it_was_tried_is_tried_again() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    one.set(PodFacts.of(pod("p", tolerations=(bears("x"),))), 10)

    one.refused(waiting, frozenset({"TaintToleration"}))
    assert one.pop(20) is waiting
    one.refused(waiting, frozenset({"TaintToleration"}))

    assert one.pop(60) is None


def test_a_failed_attempt_is_repeated_after_its_delay_whatever_happens() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    one.failed(waiting)

    assert one.pop(10.9) is None
    assert name(one.pop(11)) == "p"


def test_a_pod_that_is_gone_is_never_handed_out() -> None:
    one = queue(facts("p"), facts("q"))

    one.remove("uid-p")

    assert [name(one.pop(5)) for _ in range(2)] == ["q", ""]
    assert len(one) == 1


TOLERANT = pod("p", cpu="2", tolerations=(bears("x"),))
LABELLED = pod("p", cpu="2", labels={"app": "web"})
SMALLER = pod("p", cpu="1")
CLAIMING = pod("p", cpu="2", status=PodStatus(resource_claim_statuses=(PodResourceClaimStatus(name="gpu"),)))


@pytest.mark.parametrize(
    ("refused_by", "change", "helps"),
    [
        ("TaintToleration", TOLERANT, True),
        ("TaintToleration", LABELLED, False),
        ("TaintToleration", SMALLER, False),
        ("NodeUnschedulable", TOLERANT, True),
        ("NodeResourcesFit", SMALLER, True),
        ("NodeResourcesFit", pod("p", cpu="3"), False),
        ("NodeResourcesFit", TOLERANT, False),
        ("PodTopologySpread", LABELLED, True),
        ("PodTopologySpread", TOLERANT, False),
        ("InterPodAffinity", LABELLED, True),
        ("DynamicResources", CLAIMING, True),
        ("DynamicResources", LABELLED, False),
        ("NodeAffinity", LABELLED, False),
        ("VolumeBinding", TOLERANT, False),
    ],
)
@pytest.mark.parametrize("while_tried", [False, True])
def test_a_change_of_the_pod_itself_counts_for_the_plugins_that_refused_it(
    refused_by: str, change: Pod, *, helps: bool, while_tried: bool
) -> None:
    one = queue(PodFacts.of(pod("p", cpu="2")))
    waiting = one.pop(10)
    assert waiting
    if while_tried:
        one.set(PodFacts.of(change), 10)
    one.refused(waiting, frozenset({refused_by}))
    one.set(PodFacts.of(change), 20)

    assert (one.pop(20) is waiting) == helps


def test_what_was_written_into_a_pods_status_is_no_change_of_it() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    one.refused(waiting, frozenset())
    assert one.pop(20) is None

    one.set(PodFacts.of(pod("p", priority=0, status=PodStatus(nominated_node_name="n"))), 20)

    assert one.pop(20) is None


def test_a_gated_pod_waits_until_its_gates_are_gone() -> None:
    gated = PodFacts.of(pod("p", scheduling_gates=(PodSchedulingGate(name="a"), PodSchedulingGate(name="b"))))
    one = queue(gated)

    one.flush(10 + DELAYS.refused)
    one.changed(Happening(Node, Action.ADDED, node("w1")), 20)
    assert one.pop(20) is None
    assert one.counts() == {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 1}
    one.set(PodFacts.of(pod("p", scheduling_gates=(PodSchedulingGate(name="b"),))), 20)
    assert one.pop(20) is None
    one.set(facts("p"), 20)
    assert name(one.pop(20)) == "p"


WANTED = pod("p", cpu="2", ports=(80,), node_selector={"disk": "ssd"})


@pytest.mark.parametrize(
    ("by", "what", "wakes"),
    [
        ("NodeUnschedulable", Happening(Node, Action.CHANGED, node("w"), node("w", cordoned=True)), True),
        ("NodeUnschedulable", Happening(Node, Action.CHANGED, node("w", cordoned=True), node("w")), False),
        ("TaintToleration", Happening(Node, Action.CHANGED, node("w"), node("w", taints=[taint("x")])), True),
        ("TaintToleration", Happening(Node, Action.ADDED, node("w", taints=[taint("x")])), False),
        ("NodeAffinity", Happening(Node, Action.ADDED, node("w", labels={"disk": "ssd"})), True),
        ("NodeAffinity", Happening(Node, Action.ADDED, node("w")), False),
        (
            "NodeAffinity",
            Happening(
                Node, Action.CHANGED, node("w", labels={"disk": "ssd"}), node("w", labels={"disk": "ssd"})
            ),
            False,
        ),
        ("NodePorts", Happening(Pod, Action.GONE, old=pod("o", ports=(80,))), True),
        ("NodePorts", Happening(Pod, Action.GONE, old=pod("o", ports=(81,))), False),
        ("NodeResourcesFit", Happening(Pod, Action.GONE, old=pod("o", cpu="1")), True),
        ("NodeResourcesFit", Happening(Pod, Action.ADDED, pod("o", cpu="1")), False),
        ("NodeResourcesFit", Happening(Pod, Action.CHANGED, pod("o", cpu="1"), pod("o", cpu="2")), True),
        ("NodeResourcesFit", Happening(Pod, Action.CHANGED, pod("o", cpu="2"), pod("o", cpu="1")), False),
        ("NodeResourcesFit", Happening(Node, Action.ADDED, node("w", cpu="4")), True),
        ("NodeResourcesFit", Happening(Node, Action.ADDED, node("w", cpu="1")), False),
        ("NodeResourcesFit", Happening(Node, Action.CHANGED, node("w", cpu="4"), node("w", cpu="4")), False),
    ],
)
def test_a_plugin_looks_closer_whether_a_change_could_help(by: str, what: Happening, wakes: bool) -> None:
    one = queue(PodFacts.of(WANTED))
    waiting = one.pop(10)
    assert waiting
    one.refused(waiting, frozenset({by}))

    one.changed(what, 20)

    assert (one.pop(20) is not None) is wakes


def test_a_pod_refused_long_ago_is_tried_again_in_case_a_change_was_missed() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    one.refused(waiting, frozenset({"NodeAffinity"}))

    one.flush(10 + DELAYS.refused - 1)
    assert one.counts() == {"active": 0, "backoff": 0, "unschedulable": 1, "gated": 0}
    one.flush(10 + DELAYS.refused)
    assert one.counts() == {"active": 1, "backoff": 0, "unschedulable": 0, "gated": 0}
