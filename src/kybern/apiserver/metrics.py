"""Upstream's metric names for requests."""

from prometheus_client import Counter, Gauge, Histogram

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
_total = Counter("apiserver_request_total", "Requests by verb, resource and HTTP code.", _REQUEST)
_duration = Histogram(
    "apiserver_request_duration_seconds", "Time to answer.", _REQUEST[:-1], buckets=_BUCKETS
)
inflight = Gauge("apiserver_current_inflight_requests", "Requests being served.", ("request_kind",))
longrunning = Gauge(
    "apiserver_longrunning_requests", "Watches and other long requests.", ("verb", "resource")
)
rejected = Counter(
    "apiserver_dropped_requests_total", "Requests refused because of too many.", ("request_kind",)
)

type Labels = tuple[str, str, str, str, str, str, str]
_children: dict[tuple[Labels, int], tuple[Counter, Histogram]] = {}


def observe(labels: Labels, code: int, seconds: float) -> None:
    """Count one answered request. ``labels``: verb, dry_run, group, version, resource, subresource, scope."""
    found = _children.get((labels, code))
    if found is None:
        counter = _total.labels(*labels, "apiserver", str(code))
        histogram = _duration.labels(*labels, "apiserver")
        found = _children[labels, code] = (counter, histogram)
    found[0].inc()
    found[1].observe(seconds)
