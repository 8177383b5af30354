"""What kube-scheduler measures, under upstream's names (pkg/scheduler/metrics).

What is true at a moment (who waits where, how much is known) is counted when somebody asks for it, and costs pods nothing.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, override

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kybern.daemon.tally import Tallies, powers

if TYPE_CHECKING:
    from kybern.scheduler.queue import Queue, Waiting
    from kybern.scheduler.table import Table

MANY = 15  # attempts, from which on nobody needs to know how many (upstream: getAttemptsLabel)

_LATENCY = powers(0.001, 2, 15)

_ATTEMPTS = prometheus_client.Counter(
    "scheduler_schedule_attempts_total", "Attempts by result", ["result", "profile"]
)
_ATTEMPT = Tallies(
    "scheduler_scheduling_attempt_duration_seconds",
    "Time of one attempt, binding included",
    ("result", "profile"),
    _LATENCY,
)
ALGORITHM = Tallies("scheduler_scheduling_algorithm_duration_seconds", "Time of one decision", (), _LATENCY)
SLI = Tallies(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "From when a pod could be tried first to its binding",
    ("attempts",),
    powers(0.01, 2, 20),
)
_TRIES = Tallies("scheduler_pod_scheduling_attempts", "Attempts until a pod was bound", (), powers(1.0, 2, 5))
POINTS = Tallies(
    "scheduler_framework_extension_point_duration_seconds",
    "Time that all plugins of an extension point took",
    ("extension_point", "status", "profile"),
    powers(0.0001, 2, 12),
)
PLUGINS = Tallies(
    "scheduler_plugin_execution_duration_seconds",
    "Time that a plugin took at an extension point, in one attempt of ten",
    ("plugin", "extension_point", "status"),
    powers(0.00001, 1.5, 20),
)
PERMITS = Tallies(
    "scheduler_permit_wait_duration_seconds", "Time of waiting for a permit", ("result",), _LATENCY
)
EVENTS = Tallies(
    "scheduler_event_handling_duration_seconds",
    "Time of looking whom a change could help",
    ("event",),
    powers(0.0001, 2, 12),
)
EVALUATIONS: Counter[tuple[tuple[str, ...], str, str]] = Counter()
"""How often these plugins had a say at an extension point, by profile."""
CALLS = Tallies(
    "scheduler_async_api_call_execution_duration_seconds",
    "Time of a request that is made beside the loop",
    ("call_type", "result"),
    _LATENCY,
)
UNDER_WAY: Counter[str] = Counter()
"""What is done beside the loop now: pod_binding and pod_status_patch are requests, binding is everything up to one."""
EVICTIONS = Tallies(
    "scheduler_preemption_goroutines_duration_seconds",
    "Time of making all victims of a pod leave",
    ("result",),
    powers(0.01, 2, 20),
)
AFTER_FLUSH = prometheus_client.Counter(
    "scheduler_pod_scheduled_after_flush_total",
    "Pods that were bound although no change had been told that could help them",
)
PREEMPTIONS = prometheus_client.Counter(
    "scheduler_preemption_attempts_total", "How often room was looked for by making others leave"
)
CLAIMS = prometheus_client.Counter(
    "scheduler_resourceclaim_creates_total", "Claims that were made for extended resources", ["status"]
)
VICTIMS = Tallies(
    "scheduler_preemption_victims", "Pods that had to leave for another one", (), powers(1.0, 2, 7)
)


def attempted(result: str, waiting: "Waiting", seconds: float) -> None:
    """``result`` is scheduled, unschedulable or error; ``seconds`` is what the attempt took."""
    _ATTEMPTS.labels(result, waiting.profile).inc()
    _ATTEMPT.of(result, waiting.profile).observe(seconds)


def bound(waiting: "Waiting", now: float) -> None:
    """A pod has its node; ``now`` is on the clock of the queue."""
    tried = waiting.attempts
    _TRIES.of().observe(tried)
    if waiting.flushed:
        AFTER_FLUSH.inc()
    SLI.of(str(tried) if tried < MANY else f"{MANY}+").observe(now - waiting.ready)


class Figures(Collector):
    """What is in a scheduler's queue and table. It has to be registered, by the one daemon of the process."""

    def __init__(self, queue: "Queue", table: "Table") -> None:
        self._queue, self._table = queue, table

    @override
    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        yield _gauge("scheduler_pending_pods", "Pods that want a node", ("queue",), self._pending())
        refused = self._queue.refusals()
        yield _gauge(
            "scheduler_unschedulable_pods", "Pods by who refused them", ("plugin", "profile"), refused
        )
        yield _gauge("scheduler_cache_size", "What is known of the cluster", ("type",), self._known())
        yield _gauge(
            "scheduler_inflight_events",
            "Changes kept for pods that are tried",
            ("event",),
            self._queue.kept(),
        )
        for name, said, label, shown in (
            ("scheduler_goroutines", "What is done beside the loop", "operation", ("binding",)),
            (
                "scheduler_pending_async_api_calls",
                "Requests under way",
                "call_type",
                ("pod_binding", "pod_status_patch"),
            ),
        ):
            yield _gauge(name, said, (label,), Counter({(one,): UNDER_WAY[one] for one in shown}))
        yield from self._totals()
        said = "Pods that came to a queue, and why"
        yield _total("scheduler_queue_incoming_pods", said, ("queue", "event"), self._queue.incoming)

    def _totals(self) -> Iterator[CounterMetricFamily]:
        evaluations: Counter[tuple[str, ...]] = Counter()
        for (plugins, point, profile), number in EVALUATIONS.items():
            for plugin in plugins:
                evaluations[plugin, point, profile] += number
        by_plugin, by_call = ("plugin", "extension_point", "profile"), ("call_type", "result")
        said = "Attempts in which a plugin had a say"
        yield _total("scheduler_plugin_evaluation", said, by_plugin, evaluations)
        said = "Requests that were made beside the loop"
        yield _total("scheduler_async_api_call_execution", said, by_call, CALLS.numbers())
        said = "How often victims were made to leave"
        yield _total("scheduler_preemption_goroutines_execution", said, ("result",), EVICTIONS.numbers())

    def _pending(self) -> Counter[tuple[str, ...]]:
        return Counter({(place,): number for place, number in self._queue.counts().items()})

    def _known(self) -> Counter[tuple[str, ...]]:
        placed = sum(1 for _ in self._table.placed())
        assumed = sum(1 for uid in self._queue if self._table.placed_on(uid))
        return Counter({("nodes",): len(self._table), ("pods",): placed, ("assumed_pods",): assumed})


def _total(
    name: str, said: str, labels: tuple[str, ...], counts: Counter[tuple[str, ...]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, said, labels=labels)
    for values, number in counts.items():
        family.add_metric(values, number)
    return family


def _gauge(
    name: str, said: str, labels: tuple[str, ...], counts: Counter[tuple[str, ...]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, said, labels=labels)
    for values, number in counts.items():
        family.add_metric(values, number)
    return family
