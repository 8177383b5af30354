"""Vectors that are kept say the same as ones worked out anew, whatever changed in between."""

from kybern.scheduler.facts import PodFacts
from kybern.scheduler.room import KEPT, Numbers, Room, Section
from tests.unit.scheduler.making import pod

ONE = PodFacts.of(pod("p", cpu="1"))


def free(there: Section) -> Numbers:
    found: Numbers = there.allocatable[0] - there.requested[0]
    return found


def last(there: Section) -> Numbers:
    """What there is of the resource that was named last."""
    found: Numbers = there.allocatable[-1]
    return found


def test_a_kept_vector_follows_what_changed() -> None:
    room = Room(columns=4)
    for column in range(4):
        room.set_allocatable(column, {"cpu": 4000})
    assert room.vector("free", lambda: free).tolist() == [4000] * 4

    for column in (1, 2, 1):
        room.count(column, ONE, 1)

    assert room.vector("free", lambda: free).tolist() == [4000, 2000, 3000, 4000]


def test_only_columns_that_changed_are_worked_out_again() -> None:
    room, widths = Room(columns=8), []

    def work(there: Section) -> Numbers:
        widths.append(there.allocatable.shape[1])
        return free(there)

    room.vector("free", lambda: work)
    room.count(3, ONE, 1)
    room.vector("free", lambda: work)
    room.vector("free", lambda: work)

    assert widths == [8, 1]


def test_more_changes_than_columns_are_followed_too() -> None:
    room = Room(columns=2)
    room.vector("free", lambda: free)

    for _ in range(5):
        room.count(0, ONE, 1)

    assert room.vector("free", lambda: free).tolist() == [-5000, 0]


def test_a_resource_that_turns_up_between_two_questions_is_seen_by_the_second() -> None:
    room = Room(columns=2)
    room.vector("free", lambda: free)
    room.vector("last", lambda: last)
    room.set_allocatable(1, {"cpu": 4000})

    room.vector("free", lambda: free)
    room.row("example.com/gpu")
    room.allocatable[-1] = 7

    assert room.vector("last", lambda: last).tolist() == [0, 7]  # only the second column had changed


def test_what_was_asked_for_longest_ago_is_forgotten() -> None:
    room, asked = Room(columns=2), []

    def work(there: Section) -> Numbers:
        asked.append(1)
        return free(there)

    for number in range(KEPT + 1):
        room.vector(number, lambda: work)
    room.vector(0, lambda: work)

    assert len(asked) == KEPT + 2
