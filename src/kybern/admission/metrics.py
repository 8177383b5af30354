"""Upstream's metric names for what webhooks and policies do."""

from prometheus_client import Counter, Histogram

_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25)
_webhooks = Histogram(
    "apiserver_admission_webhook_admission_duration_seconds",
    "Time that an admission webhook took.",
    ("name", "type", "operation", "rejected"),
    buckets=_BUCKETS,
)
_requests = Counter(
    "apiserver_admission_webhook_request_total",
    "Calls of admission webhooks.",
    ("name", "type", "operation", "code", "rejected"),
)
# The client library puts _total behind a counter's name, which these two of upstream's do not have.
_rejections = Counter(
    "apiserver_admission_webhook_rejection_count",
    "Refusals by admission webhooks, and failures to call them.",
    ("name", "type", "operation", "error_type", "rejection_code"),
)
_opened = Counter(
    "apiserver_admission_webhook_fail_open_count",
    "Failures to call admission webhooks that let the write pass.",
    ("name", "type"),
)
_MOST = 600


def called(name: str, kind: str, operation: str, code: int, seconds: float, *, rejected: bool) -> None:
    said = str(rejected).lower()
    _requests.labels(name, kind, operation, str(min(code, _MOST)), said).inc()
    _webhooks.labels(name, kind, operation, said).observe(seconds)


def rejected(name: str, kind: str, operation: str, error: str, code: int) -> None:
    """``error``: no_error, calling_webhook_error or apiserver_internal_error."""
    _rejections.labels(name, kind, operation, error, str(min(code, _MOST))).inc()


def opened(name: str, kind: str) -> None:
    _opened.labels(name, kind).inc()
