"""Upstream's metrics of authorizers: who decided, and how webhooks answered."""

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

_NAME = "apiserver_authorization"

evaluations = Counter(
    f"{_NAME}_webhook_evaluations", "Round-trips to authorization webhooks.", ("name", "result")
)
duration = Histogram(f"{_NAME}_webhook_duration_seconds", "Time to be answered.", ("name", "result"))
opened = Counter(
    f"{_NAME}_webhook_evaluations_fail_open",
    "Requests that a webhook had no opinion of because it failed.",
    ("name", "result"),
)
condition_errors = Counter(
    f"{_NAME}_match_condition_evaluation_errors",
    "Match conditions that could not be evaluated.",
    ("type", "name"),
)
condition_exclusions = Counter(
    f"{_NAME}_match_condition_exclusions", "Requests that match conditions kept away.", ("type", "name")
)
condition_seconds = Histogram(
    f"{_NAME}_match_condition_evaluation_seconds",
    "Time to evaluate match conditions.",
    ("type", "name"),
    buckets=(0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25),
)

type Counts = list[int]
"""How often an authorizer allowed, and how often it denied."""


class _Decisions(Collector):
    """Decisions by authorizer, counted in plain numbers: every request adds to one."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counts] = {}

    def of(self, type: str, name: str) -> Counts:  # noqa: A002  # as the configuration names it
        return self._counts.setdefault((type, name), [0, 0])

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            f"{_NAME}_decisions",
            "Decisions that an authorizer made, which ended the asking.",
            labels=("type", "name", "decision"),
        )
        for (kind, name), counts in self._counts.items():
            for decision, count in zip(("allowed", "denied"), counts, strict=True):
                if count:
                    family.add_metric((kind, name, decision), count)
        yield family


DECISIONS = _Decisions()
REGISTRY.register(DECISIONS)
