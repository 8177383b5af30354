"""Upstream's pages /debug/api_priority_and_fairness/dump_...: levels, queues, and requests that wait."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from kybern.apiserver.fairness.gate import Fairness
from kybern.apiserver.fairness.queues import Level, Seat
from kybern.apiserver.paths import TEXT, Given, Page

_START = "/debug/api_priority_and_fairness/dump_"
_NONE = "<none>"
_NARROWEST = 8
_LEVELS = (
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
)
_QUEUES = ("PriorityLevelName", "Index", "PendingRequests", "SeatsInUse", "NextDispatchR")
_REQUESTS = (
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",  # so it is spelled there, and tools read it
    "ArriveTime",
    "InitialSeats",
)

type Rows = Iterable[Sequence[str]]


def pages(fairness: Fairness, clock: Callable[[], float], now: Callable[[], float]) -> Mapping[str, Page]:
    """``clock`` is the one that the seats know, ``now`` gives Unix time."""

    def page(headers: Sequence[str], rows: Callable[[], Rows]) -> Page:
        return lambda _asked: Given(table([headers, *rows()]).encode(), TEXT)

    def came(seat: Seat) -> str:
        when = datetime.fromtimestamp(now() - clock() + seat.since, UTC)
        return f"{when:%Y-%m-%dT%H:%M:%S.%f}Z"

    return {
        f"{_START}priority_levels": page(_LEVELS, lambda: map(_level, fairness.levels.values())),
        f"{_START}queues": page(
            _QUEUES, lambda: (row for one in fairness.levels.values() for row in _queues(one))
        ),
        f"{_START}requests": page(
            _REQUESTS, lambda: (row for one in fairness.levels.values() for row in _requests(one, came))
        ),
    }


def table(rows: Rows) -> str:
    """Columns of the same width, and commas."""
    cells = [[f"{one}," for one in row[:-1]] + [row[-1]] for row in rows]
    widths = [max(_NARROWEST, *(len(one) + 1 for one in column)) for column in zip(*cells, strict=True)]
    lines = (
        "".join(one.ljust(width) for one, width in zip(row[:-1], widths, strict=False)) + row[-1]
        for row in cells
    )
    return "".join(f"{line}\n" for line in lines)


def _level(level: Level) -> Sequence[str]:
    if level.exempt:
        return (level.name, *[_NONE] * (len(_LEVELS) - 1))
    active = sum(bool(waiting) for _, _, _, waiting in level.queues())
    idle = "false" if level.demand else "true"
    # A level that was deleted is in no list, so none is ever shown that quiesces.
    return level.name, str(active), idle, "false", str(level.waiting), str(level.requests)


def _queues(level: Level) -> Rows:
    if level.exempt:
        return [(level.name, *[_NONE] * (len(_QUEUES) - 1))]
    return [
        (level.name, str(number), str(len(waiting)), str(taken), f"{meter:.8f}ss")
        for number, meter, taken, waiting in level.queues()
    ]


def _requests(level: Level, came: Callable[[Seat], str]) -> Rows:
    return [
        (
            level.name,
            seat.flow.schema,
            str(queue),
            str(at),
            seat.flow.distinguisher,
            came(seat),
            str(seat.width),
        )
        for queue, _, _, waiting in level.queues()
        for at, seat in enumerate(waiting)
    ]
