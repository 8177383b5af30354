"""Upstream's metric names for conversion webhooks."""

from prometheus_client import Counter, Histogram

_count = Counter(
    "apiserver_conversion_webhook_request", "Calls of conversion webhooks.", ("failure_type", "result")
)
_duration = Histogram(
    "apiserver_conversion_webhook_duration_seconds",
    "Time that a conversion webhook took.",
    ("failure_type", "result"),
)


def converted(seconds: float) -> None:
    _count.labels("", "success").inc()
    _duration.labels("", "success").observe(seconds)


def failed(seconds: float) -> None:
    _count.labels("conversion_webhook_call_failure", "failure").inc()
    _duration.labels("conversion_webhook_call_failure", "failure").observe(seconds)
