"""One level: who runs, who waits, who goes next. Time is a number that the tests set."""

import asyncio
from dataclasses import dataclass, field

import pytest

from kybern.apiserver.crowded import Crowded
from kybern.apiserver.fairness.numbers import Numbers
from kybern.apiserver.fairness.queues import Flow, Level, Queuing, Seat
from kybern.apiserver.fairness.shares import Bounds

QUEUES = Queuing(queues=4, hand=1, longest=3)


@dataclass
class Bed:
    seats: int = 2
    queuing: Queuing | None = QUEUES
    exempt: bool = False
    now: float = 0.0
    level: Level = field(init=False)

    def __post_init__(self) -> None:
        self.level = Level("l", lambda: self.now)
        self.level.become(Bounds(self.seats, self.seats, self.seats), self.queuing, exempt=self.exempt)

    def flow(self, *hand: int) -> Flow:
        return Flow("s", "", self.level, hand, (), Numbers())

    def run(self, flow: Flow, count: int = 1, width: int = 1) -> list[Seat]:
        return [self.level.take(flow, width) for _ in range(count)]


async def test_a_request_that_finds_a_seat_runs_at_once() -> None:
    bed = Bed()
    flow = bed.flow(0)
    first, second = bed.run(flow, 2)
    assert first.runs
    assert second.runs
    assert first.turn is None
    await first.wait(1.0)
    assert (flow.numbers.running, flow.numbers.waiting, bed.level.running) == (2, 0, 2)


async def test_one_more_waits_for_its_turn() -> None:
    bed = Bed()
    flow = bed.flow(0)
    first, _, third = bed.run(flow, 3)
    assert not third.runs
    waiting = asyncio.create_task(third.wait(60.0))
    first.leave()
    await waiting
    assert third.runs
    assert (flow.numbers.started, flow.numbers.waiting, bed.level.running) == (3, 0, 2)


async def test_leaving_twice_is_leaving_once() -> None:
    bed = Bed()
    (only,) = bed.run(bed.flow(0))
    only.leave()
    only.leave()
    assert bed.level.running == bed.level.demand == 0


async def test_without_queues_the_next_is_refused() -> None:
    bed = Bed(queuing=None)
    flow = bed.flow()
    bed.run(flow, 2)
    with pytest.raises(Crowded) as refusal:
        bed.run(flow)
    assert refusal.value.why == "concurrency-limit"
    assert flow.numbers.refused == {"concurrency-limit": 1}


async def test_a_queue_takes_so_many() -> None:
    bed = Bed()
    flow = bed.flow(0)
    bed.run(flow, 5)
    with pytest.raises(Crowded) as refusal:
        bed.run(flow)
    assert refusal.value.why == "queue-full"
    assert bed.level.waiting == 3
    # Others have queues of their own.
    bed.run(bed.flow(1))


async def test_the_shortest_queue_of_a_hand_is_taken() -> None:
    bed = Bed()
    bed.run(bed.flow(0), 2)
    bed.run(bed.flow(0), 2)
    bed.run(bed.flow(0, 1))
    assert {number: len(seats) for number, _, _, seats in bed.level.queues()} == {0: 2, 1: 1}


async def test_a_flow_of_few_does_not_wait_for_all_of_a_flow_of_many() -> None:
    """An elephant and a mouse."""
    bed = Bed(seats=1)
    many, few = bed.flow(0), bed.flow(1)
    running, *behind = bed.run(many, 4)
    (mouse,) = bed.run(few)
    bed.now += 1.0
    running.leave()
    assert behind[0].runs
    assert not mouse.runs
    bed.now += 1.0
    behind[0].leave()
    assert mouse.runs
    assert not behind[1].runs


async def test_long_requests_count_for_more_than_short_ones() -> None:
    bed = Bed(seats=1, queuing=Queuing(queues=4, hand=1, longest=50))
    long, short = bed.flow(0), bed.flow(1)
    queue = bed.run(long, 20) + bed.run(short, 30)
    served = {id(long): 0, id(short): 0}
    for _ in range(22):
        one = next(seat for seat in queue if seat.runs)
        bed.now += 10.0 if one.flow is long else 1.0
        served[id(one.flow)] += 1
        one.leave()
        queue.remove(one)
    # The same time for both: ten short ones for a long one, but for the first that were guessed at.
    assert served[id(long)] <= 4
    assert served[id(short)] >= 18


async def test_who_waits_too_long_is_refused() -> None:
    bed = Bed(seats=1)
    flow = bed.flow(0)
    _, second = bed.run(flow, 2)
    with pytest.raises(Crowded) as refusal:
        await second.wait(0.0)
    assert refusal.value.why == "time-out"
    assert bed.level.waiting == flow.numbers.waiting == 0
    assert flow.numbers.refused == {"time-out": 1}


async def test_who_goes_away_leaves_the_queue() -> None:
    bed = Bed(seats=1)
    flow = bed.flow(0)
    first, second, third = bed.run(flow, 3)
    waiting = asyncio.create_task(second.wait(60.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert flow.numbers.refused == {"cancelled": 1}
    first.leave()
    assert third.runs
    assert bed.level.running == 1


async def test_who_goes_away_as_his_turn_comes_gives_the_seat_on() -> None:
    bed = Bed(seats=1)
    first, second, third = bed.run(bed.flow(0), 3)
    waiting = asyncio.create_task(second.wait(60.0))
    await asyncio.sleep(0)
    first.leave()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert third.runs
    assert bed.level.running == 1


async def test_an_exempt_level_has_no_limit() -> None:
    bed = Bed(seats=0, queuing=None, exempt=True)
    assert all(seat.runs for seat in bed.run(bed.flow(), 100))


async def test_a_request_that_is_wider_than_its_level_runs_alone() -> None:
    bed = Bed(seats=2)
    flow = bed.flow(0)
    (narrow,) = bed.run(flow)
    (wide,) = bed.run(flow, width=5)
    (after,) = bed.run(flow)
    assert not wide.runs
    narrow.leave()
    assert wide.runs
    assert not after.runs
    wide.leave()
    assert after.runs


async def test_more_seats_let_those_run_that_wait() -> None:
    bed = Bed(seats=1)
    queue = bed.run(bed.flow(0), 3)
    bed.level.become(Bounds(3, 3, 3), QUEUES, exempt=False)
    assert all(seat.runs for seat in queue)


async def test_fewer_seats_take_none_away() -> None:
    bed = Bed(seats=3)
    running = bed.run(bed.flow(0), 3)
    bed.level.become(Bounds(1, 1, 1), QUEUES, exempt=False)
    (next_,) = bed.run(bed.flow(0))
    for seat in running[:2]:
        seat.leave()
    assert not next_.runs
    running[2].leave()
    assert next_.runs


async def test_demand_is_of_those_that_run_and_those_that_wait() -> None:
    bed = Bed(seats=1)
    flow = bed.flow(0)
    bed.now = 10.0
    first, second = bed.run(flow, 2)
    bed.now = 20.0
    found = bed.level.asked()
    assert (found.mean, found.deviation, found.most) == (1.0, 1.0, 2)
    first.leave()
    second.leave()
    bed.now = 30.0
    found = bed.level.asked()
    assert (found.mean, found.deviation, found.most) == (0.0, 0.0, 2)
    assert bed.level.asked().most == 0


async def test_what_was_in_a_crowd_is_forgotten_after_it() -> None:
    bed = Bed(seats=1)
    for seat in bed.run(bed.flow(0), 3):
        seat.leave()
    bed.run(bed.flow(1))[0].leave()
    assert list(bed.level.queues()) == []
