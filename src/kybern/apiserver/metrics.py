"""Upstream's metric names for requests."""

import contextlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from kybern.apiserver.engine import Call

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
_RESPONSE = ("verb", "group", "version", "resource", "subresource", "scope", "component")
_SIZES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
_COMPONENT = "apiserver"
inflight = Gauge("apiserver_current_inflight_requests", "Requests being served.", ("request_kind",))
_longrunning = Gauge(
    "apiserver_longrunning_requests",
    "Watches and other long requests.",
    _RESPONSE,
)
_deprecated = Gauge(
    "apiserver_requested_deprecated_apis",
    "Deprecated APIs that somebody asked for: 1.",
    ("group", "version", "resource", "subresource", "removed_release"),
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


class _Answered:
    """Requests with the same labels: by code, and by seconds and bytes in buckets, with their sums."""

    __slots__ = ("codes", "seconds", "sizes", "total", "within")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.within = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0
        self.sizes = [0] * (len(_SIZES) + 1)
        self.total = 0


class _Requests(Collector):
    """Counts of answered requests, added up when somebody asks: a request adds to two numbers, and to a sum."""

    def __init__(self) -> None:
        self._all: dict[Labels, _Answered] = {}

    def observe(self, labels: Labels, code: int, seconds: float, size: int) -> None:
        found = self._all.get(labels)
        if found is None:
            found = self._all[labels] = _Answered()
        codes = found.codes
        codes[code] = codes.get(code, 0) + 1
        found.within[bisect_left(_BUCKETS, seconds)] += 1
        found.seconds += seconds
        if size >= 0:
            found.sizes[bisect_left(_SIZES, size)] += 1
            found.total += size

    def collect(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "apiserver_request", "Requests by verb, resource and HTTP code.", labels=_REQUEST
        )
        duration = HistogramMetricFamily(
            "apiserver_request_duration_seconds", "Time to answer.", labels=_REQUEST[:-1]
        )
        sizes = HistogramMetricFamily(
            "apiserver_response_sizes", "Bytes of answers to reads.", labels=_RESPONSE
        )
        for labels, one in self._all.items():
            for code, count in one.codes.items():
                total.add_metric((*labels, _COMPONENT, str(code)), count)
            duration.add_metric((*labels, _COMPONENT), _buckets(_BUCKETS, one.within), one.seconds)
        for response, (within, size) in self._sizes().items():
            sizes.add_metric((*response, _COMPONENT), _buckets(_SIZES, within), size)
        yield from (total, duration, sizes)

    def _sizes(self) -> dict[tuple[str, ...], tuple[list[int], int]]:
        """Without the label dry_run, which they do not have."""
        found: dict[tuple[str, ...], tuple[list[int], int]] = {}
        for labels, one in self._all.items():
            if any(one.sizes):
                key = (labels[0], *labels[2:])
                within, size = found.get(key, ([0] * len(one.sizes), 0))
                found[key] = [a + b for a, b in zip(within, one.sizes, strict=True)], size + one.total
        return found


def _buckets(bounds: Sequence[float], within: Sequence[int]) -> list[tuple[str, float]]:
    """Each counts all values up to its bound."""
    names = [*(floatToGoString(bound) for bound in bounds), "+Inf"]  # type: ignore[no-untyped-call]
    return list(zip(names, accumulate(within), strict=True))


_requests = _Requests()
REGISTRY.register(_requests)
observe = _requests.observe
"""Count one answered request: its labels, its code, how many seconds it took, and how many bytes it read (or -1)."""


def longrunning(verb: str, call: "Call") -> Gauge:
    """Where a request that lasts is counted while it does."""
    kind = call.kind
    scope = "resource" if call.name else "namespace" if call.namespace else "cluster"
    return _longrunning.labels(
        verb, kind.group, kind.version, kind.plural, call.subresource, scope, _COMPONENT
    )


def deprecated(group: str, version: str, resource: str, subresource: str) -> None:
    """Somebody asked for what is deprecated; none of that has a release yet that will be without it."""
    _deprecated.labels(group, version, resource, subresource, "").set(1)


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
