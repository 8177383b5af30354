"""Upstream's metric names for requests."""

import contextlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_REQUEST = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code")
_BUCKETS = (
    0.005,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
    30,
    45,
    60,
)
inflight = Gauge("apiserver_current_inflight_requests", "Requests being served.", ("request_kind",))
longrunning = Gauge(
    "apiserver_longrunning_requests", "Watches and other long requests.", ("verb", "resource")
)
rejected = Counter(
    "apiserver_dropped_requests_total", "Requests refused because of too many.", ("request_kind",)
)

audit_events = Counter("apiserver_audit_event", "Audit events that were made.")
audit_errors = Counter("apiserver_audit_error", "Audit events that could not be kept.", ("plugin",))
audit_rejected = Counter(
    "apiserver_audit_requests_rejected", "Requests refused because they could not be told."
)
_levels = Counter("apiserver_audit_level", "Requests by the level at which they are told.", ("level",))
# By the level's number.
audited = [_levels.labels(name) for name in ("None", "Metadata", "Request", "RequestResponse")]

_unavailable = Gauge(
    "aggregator_unavailable_apiservice", "APIServices whose server cannot be had, by name: 0 or 1.", ("name",)
)

type Labels = tuple[str, str, str, str, str, str, str]
"""verb, dry_run, group, version, resource, subresource, scope"""


class _Requests(Collector):
    """Counts of answered requests, added up when somebody asks: a request adds to two numbers, and to a sum."""

    def __init__(self) -> None:
        self._codes: dict[tuple[Labels, int], int] = {}
        self._times: dict[Labels, list[float]] = {}
        self._within: dict[Labels, list[int]] = {}

    def observe(self, labels: Labels, code: int, seconds: float) -> None:
        key = (labels, code)
        self._codes[key] = self._codes.get(key, 0) + 1
        within = self._within.get(labels)
        if within is None:
            within = self._within[labels] = [0] * (len(_BUCKETS) + 1)
            self._times[labels] = [0.0]
        within[bisect_left(_BUCKETS, seconds)] += 1
        self._times[labels][0] += seconds

    def collect(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "apiserver_request", "Requests by verb, resource and HTTP code.", labels=_REQUEST
        )
        for (labels, code), count in self._codes.items():
            total.add_metric((*labels, "apiserver", str(code)), count)
        yield total
        duration = HistogramMetricFamily(
            "apiserver_request_duration_seconds", "Time to answer.", labels=_REQUEST[:-1]
        )
        for labels, within in self._within.items():
            bounds = [*(str(float(bound)) for bound in _BUCKETS), "+Inf"]
            buckets = list(zip(bounds, accumulate(within), strict=True))
            duration.add_metric((*labels, "apiserver"), buckets, self._times[labels][0])
        yield duration


_requests = _Requests()
REGISTRY.register(_requests)
observe = _requests.observe
"""Count one answered request: its labels, its code, and how many seconds it took."""


def judged(name: str, *, available: bool) -> None:
    """Note whether an aggregated server can be had."""
    _unavailable.labels(name).set(not available)


def forget(name: str) -> None:
    """An APIService has gone."""
    with contextlib.suppress(KeyError):
        _unavailable.remove(name)


def count_inflight(now: Sequence[int]) -> None:
    """``now``: how many reads and writes are on their way, whenever somebody asks."""
    inflight.labels("readOnly").set_function(lambda: now[0])
    inflight.labels("mutating").set_function(lambda: now[1])
