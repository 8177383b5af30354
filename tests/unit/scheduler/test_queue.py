"""Which pod is next, and when one is tried again."""

from kybern.scheduler.framework import Change
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.queue import FLUSH, Queue, Waiting
from kybern.scheduler.table import PodFacts
from tests.unit.scheduler.making import pod


def facts(name: str, priority: int = 0) -> PodFacts:
    return PodFacts.of(pod(name, priority=priority))


def queue(*found: PodFacts) -> Queue:
    made = Queue(PLUGINS)
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

    one.changed(Change.POD_GONE, 20)
    assert one.pop(20) is None
    one.changed(Change.NODE_CHANGED, 20)
    assert name(one.pop(20)) == "p"


def test_the_delay_between_attempts_doubles_up_to_ten_seconds() -> None:
    one = queue(facts("p"))
    now, delays = 100.0, []
    for _ in range(6):
        waiting = one.pop(now)
        assert waiting
        one.refused(waiting, frozenset({"NodeResourcesFit"}))
        one.changed(Change.POD_GONE, now)
        ends = one.next_at()
        assert ends
        assert one.pop(ends - 0.01) is None
        delays.append(ends - now)
        now = ends

    assert delays == [1, 2, 4, 8, 10, 10]


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


def test_a_change_of_the_pod_itself_is_a_reason_to_try_again() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    one.refused(waiting, frozenset({"NodeAffinity"}))

    one.set(facts("p"), 20)

    assert name(one.pop(20)) == "p"


def test_a_pod_refused_long_ago_is_tried_again_in_case_a_change_was_missed() -> None:
    one = queue(facts("p"))
    waiting = one.pop(10)
    assert waiting
    one.refused(waiting, frozenset({"NodeAffinity"}))

    one.flush(10 + FLUSH - 1)
    assert one.counts() == {"active": 0, "backoff": 0, "unschedulable": 1}
    one.flush(10 + FLUSH)
    assert one.counts() == {"active": 1, "backoff": 0, "unschedulable": 0}
