"""Upstream's metric names for conversion webhooks, and for the rules of custom kinds.

A kind's rules are compiled together, and an object passes them together: each is one value.
"""

from prometheus_client import Counter, Histogram

from kybern.daemon.tally import Tallies

_count = Counter(
    "apiserver_conversion_webhook_request", "Calls of conversion webhooks.", ("failure_type", "result")
)
_duration = Histogram(
    "apiserver_conversion_webhook_duration_seconds",
    "Time that a conversion webhook took.",
    ("failure_type", "result"),
)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COMPILED = Tallies("apiserver_cel_compilation_duration_seconds", "Time of compiling CEL.", (), _SECONDS)
EVALUATED = Tallies("apiserver_cel_evaluation_duration_seconds", "Time of evaluating CEL.", (), _SECONDS)


def converted(seconds: float) -> None:
    _count.labels("", "success").inc()
    _duration.labels("", "success").observe(seconds)


def failed(seconds: float) -> None:
    _count.labels("conversion_webhook_call_failure", "failure").inc()
    _duration.labels("conversion_webhook_call_failure", "failure").observe(seconds)
