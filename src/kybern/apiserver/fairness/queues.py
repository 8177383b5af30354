"""One priority level: requests that run in its seats, and those that wait for one in queues.

A request runs at once when there is a seat and nobody waits. Otherwise it joins the shortest queue of its flow's hand, or is
refused. Seats that come free go to the queue that had least of them since there was a crowd (start-time fair queueing: each
queue has a meter that goes on by seats times seconds, by those that are likely until a request has ended).
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kybern.apiserver.crowded import Crowded
from kybern.apiserver.fairness.numbers import Numbers
from kybern.apiserver.fairness.shares import Bounds, Demand

QUEUE_FULL, NO_SEAT, TIMED_OUT, LEFT = "queue-full", "concurrency-limit", "time-out", "cancelled"
"""Why a request does not run; upstream's words for its metrics."""

_FIRST_GUESS = 0.01  # seconds that a request takes
_NEWEST = 0.1  # weight of the newest request in what is likely


@dataclass(frozen=True, slots=True)
class Queuing:
    """How many queues there are, how many of them a flow may use, and how many requests wait in one at most."""

    queues: int
    hand: int
    longest: int


@dataclass(slots=True)
class Flow:
    """Requests that a schema takes for one flow. ``hand`` are its queues in the level, ``headers`` tell clients of both."""

    schema: str
    distinguisher: str
    level: "Level"
    hand: tuple[int, ...]
    headers: tuple[tuple[str, str], ...]
    numbers: Numbers


@dataclass(eq=False, slots=True)
class Seat:
    """One request's. ``turn`` is set as soon as it may run; None when it could from the start."""

    flow: Flow
    width: int
    since: float
    queue: "_Queue | None" = None
    turn: "asyncio.Future[None] | None" = None
    runs: bool = False
    charged: float = 0.0

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self.flow.headers

    def leave(self) -> None:
        """The request has ended; a watch's, as far as seats go, once it has begun."""
        if self.runs:
            self.runs = False
            self.flow.level.leave(self)

    async def wait(self, seconds: float) -> None:
        """Until the request may run. Raises Crowded after so many seconds."""
        if self.turn is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.turn
        except TimeoutError:
            self._give_up(TIMED_OUT)
            raise Crowded(TIMED_OUT) from None
        except asyncio.CancelledError:
            self._give_up(LEFT)
            raise

    def _give_up(self, reason: str) -> None:
        # Its turn may have come at the same moment.
        if self.runs:
            self.leave()
        else:
            self.flow.level.forget(self, reason)


@dataclass(eq=False, slots=True)
class _Queue:
    number: int
    meter: float = 0.0
    running: int = 0
    seats: deque[Seat] = field(default_factory=deque)

    @property
    def length(self) -> int:
        return self.running + sum(seat.width for seat in self.seats)


class Level:
    """A priority level. ``clock`` gives seconds; ``limit`` is how many seats it has now, and none where it is exempt."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.exempt = False
        self.queuing: Queuing | None = None
        self.nominal = self.least = self.most = self.limit = 0
        self.running = 0  # seats
        self.requests = 0
        self.waiting = 0
        self._queues: dict[int, _Queue] = {}
        self._meter = 0.0
        self._likely = _FIRST_GUESS
        self._clock = clock
        self.demand = 0
        self._began = self._looked = clock()
        self._sum = self._squares = 0.0
        self._most = 0

    def become(self, bounds: Bounds, queuing: Queuing | None, *, exempt: bool) -> None:
        """What was configured. Where that changes a level's own seats, it has these until the next look."""
        if (self.nominal, self.least, self.most) != (bounds.nominal, bounds.least, bounds.most):
            self.nominal, self.least, self.most = bounds.nominal, bounds.least, bounds.most
            self.limit = self.nominal
        self.queuing, self.exempt = queuing, exempt
        self.admit()

    def take(self, flow: Flow, width: int) -> Seat:
        """A seat, or a place in a queue for one. Raises Crowded."""
        now = self._clock()
        seat = Seat(flow, width, now)
        if self.exempt or (not self.waiting and self._fits(width)):
            self._start(seat, now)
            return seat
        self._enqueue(seat, now)
        self.admit()
        return seat

    def _enqueue(self, seat: Seat, now: float) -> None:
        flow = seat.flow
        if self.queuing is None:
            flow.numbers.refuse(NO_SEAT)
            raise Crowded(NO_SEAT, flow.headers)
        queue = min((self._queue(number) for number in flow.hand), key=lambda one: one.length)
        if len(queue.seats) >= self.queuing.longest:
            flow.numbers.refuse(QUEUE_FULL)
            raise Crowded(QUEUE_FULL, flow.headers)
        if not queue.seats:
            queue.meter = max(queue.meter, self._meter)
        queue.seats.append(seat)
        seat.queue, seat.turn = queue, asyncio.get_running_loop().create_future()
        self.waiting += 1
        flow.numbers.waiting += 1
        self._note(seat.width, now)

    def leave(self, seat: Seat) -> None:
        now = self._clock()
        took, numbers = now - seat.since, seat.flow.numbers
        self.running -= seat.width
        self.requests -= 1
        numbers.running -= 1
        numbers.seats -= seat.width
        numbers.ran.add(took)
        self._likely += _NEWEST * (took - self._likely)
        if seat.queue is not None:
            seat.queue.running -= seat.width
            seat.queue.meter += seat.width * took - seat.charged
        self._note(-seat.width, now)
        if self.waiting:
            self.admit()
        elif self._queues:
            self._tidy()

    def forget(self, seat: Seat, reason: str) -> None:
        """One that waited waits no longer."""
        assert seat.queue is not None
        now = self._clock()
        seat.queue.seats.remove(seat)
        self.waiting -= 1
        seat.flow.numbers.waiting -= 1
        seat.flow.numbers.waited_in_vain.add(now - seat.since)
        seat.flow.numbers.refuse(reason)
        self._note(-seat.width, now)
        self.admit()

    def admit(self) -> None:
        """Let run whoever finds a seat."""
        while self.waiting:
            queue = min((one for one in self._queues.values() if one.seats), key=lambda one: one.meter)
            seat = queue.seats[0]
            if not (self.exempt or self._fits(seat.width)):
                return
            queue.seats.popleft()
            self._admit(queue, seat)
        self._tidy()

    def _admit(self, queue: _Queue, seat: Seat) -> None:
        now = self._clock()
        self._meter = queue.meter
        seat.charged = seat.width * self._likely
        queue.meter += seat.charged
        queue.running += seat.width
        self.waiting -= 1
        seat.flow.numbers.waiting -= 1
        seat.flow.numbers.waited.add(now - seat.since)
        self._note(-seat.width, now)
        self._start(seat, now)
        if seat.turn is not None and not seat.turn.done():
            seat.turn.set_result(None)

    def _start(self, seat: Seat, now: float) -> None:
        seat.since, seat.runs = now, True
        numbers = seat.flow.numbers
        numbers.started += 1
        numbers.running += 1
        numbers.seats += seat.width
        self.running += seat.width
        self.requests += 1
        self._note(seat.width, now)

    def _fits(self, width: int) -> bool:
        """Whoever wants more than there is runs alone."""
        return self.running + width <= self.limit or not self.running

    def _queue(self, number: int) -> _Queue:
        found = self._queues.get(number)
        if found is None:
            found = self._queues[number] = _Queue(number, self._meter)
        return found

    def _tidy(self) -> None:
        """Nobody waits: what queues had so far is of no account."""
        if self._queues:
            self._queues = {number: one for number, one in self._queues.items() if one.running}

    def queues(self) -> Iterator[tuple[int, float, int, tuple[Seat, ...]]]:
        """Number, meter, seats taken and those that wait, of each queue that is in use."""
        for number, one in sorted(self._queues.items()):
            yield number, one.meter, one.running, tuple(one.seats)

    def _note(self, seats: int, now: float) -> None:
        past = now - self._looked
        self._sum += past * self.demand
        self._squares += past * self.demand * self.demand
        self._looked = now
        self.demand += seats
        self._most = max(self._most, self.demand)

    def asked(self) -> Demand:
        """What was taken or waited for since the last call."""
        now = self._clock()
        self._note(0, now)
        length = now - self._began
        mean = self._sum / length if length else float(self.demand)
        deviation = math.sqrt(max(0.0, self._squares / length - mean * mean)) if length else 0.0
        found = Demand(mean, deviation, self._most)
        self._began, self._sum, self._squares, self._most = now, 0.0, 0.0, self.demand
        return found
