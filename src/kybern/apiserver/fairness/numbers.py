"""What is counted of flows and levels, under upstream's names (``apiserver_flowcontrol_...``).

A request adds to a few numbers; they are put into words when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_BUCKETS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_BOUNDS = (*(str(bound) for bound in _BUCKETS), "+Inf")
_FLOW = ("priority_level", "flow_schema")


@dataclass(slots=True)
class Times:
    """Seconds, counted by bucket, and their sum."""

    within: list[int] = field(default_factory=lambda: [0] * len(_BOUNDS))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.within[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, int]]:
        return list(zip(_BOUNDS, accumulate(self.within), strict=True))


@dataclass(slots=True)
class Numbers:
    """Of the requests that one schema sends to one level."""

    started: int = 0
    running: int = 0
    seats: int = 0
    waiting: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    ran: Times = field(default_factory=Times)
    waited: Times = field(default_factory=Times)
    waited_in_vain: Times = field(default_factory=Times)

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Seats(Protocol):
    """What is told of a level: seats of its own, the fewest, the most, and those of now."""

    name: str
    nominal: int
    least: int
    most: int
    limit: int
    demand: int


class Told(Collector):
    """Those of one server, as they are when somebody asks."""

    def __init__(self) -> None:
        self._numbers: Mapping[tuple[str, str], Numbers] = {}
        self._levels: Callable[[], Iterable[Seats]] = tuple

    def follow(
        self, numbers: Mapping[tuple[str, str], Numbers], levels: Callable[[], Iterable[Seats]]
    ) -> None:
        """``numbers`` by level and schema."""
        self._numbers, self._levels = numbers, levels

    def collect(self) -> Iterator[Metric]:
        yield from self._counts()
        yield from self._gauges()
        yield from self._durations()
        yield from self._seats()

    def _counts(self) -> Iterator[Metric]:
        started = CounterMetricFamily(
            "apiserver_flowcontrol_dispatched_requests", "Requests that got a seat.", labels=_FLOW
        )
        refused = CounterMetricFamily(
            "apiserver_flowcontrol_rejected_requests", "Requests that got none.", labels=(*_FLOW, "reason")
        )
        for flow, one in self._numbers.items():
            started.add_metric(flow, one.started)
            for reason, count in one.refused.items():
                refused.add_metric((*flow, reason), count)
        yield started
        yield refused

    def _gauges(self) -> Iterator[Metric]:
        for name, about, of in (
            ("current_executing_requests", "Requests that have a seat.", "running"),
            ("current_executing_seats", "Seats that are taken.", "seats"),
            ("current_inqueue_requests", "Requests that wait for a seat.", "waiting"),
        ):
            gauge = GaugeMetricFamily(f"apiserver_flowcontrol_{name}", about, labels=_FLOW)
            for flow, one in self._numbers.items():
                gauge.add_metric(flow, getattr(one, of))
            yield gauge

    def _durations(self) -> Iterator[Metric]:
        ran = HistogramMetricFamily(
            "apiserver_flowcontrol_request_execution_seconds", "Time in a seat.", labels=(*_FLOW, "type")
        )
        waited = HistogramMetricFamily(
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "Time in a queue.",
            labels=(*_FLOW, "execute"),
        )
        for flow, one in self._numbers.items():
            ran.add_metric((*flow, "regular"), one.ran.buckets(), one.ran.total)
            for execute, times in (("true", one.waited), ("false", one.waited_in_vain)):
                if any(times.within):
                    waited.add_metric((*flow, execute), times.buckets(), times.total)
        yield ran
        yield waited

    def _seats(self) -> Iterator[Metric]:
        for name, about, of in (
            ("nominal_limit_seats", "Seats by shares.", "nominal"),
            ("lower_limit_seats", "Seats that are never lent.", "least"),
            ("upper_limit_seats", "Seats with all that may be borrowed.", "most"),
            ("current_limit_seats", "Seats of now.", "limit"),
            ("demand_seats_now", "Seats that are taken or waited for.", "demand"),
        ):
            gauge = GaugeMetricFamily(f"apiserver_flowcontrol_{name}", about, labels=("priority_level",))
            for level in self._levels():
                gauge.add_metric((level.name,), getattr(level, of))
            yield gauge


TOLD = Told()
REGISTRY.register(TOLD)
