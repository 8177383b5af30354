"""What a kubelet tells under /metrics/resource, read once. Pure.

The text is Prometheus' exposition format; names and labels are those of upstream's pkg/kubelet/metrics/collectors.
Times in seconds since the epoch, processor time in core-seconds, memory in bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

type Pod = tuple[str, str]

_WANTED = (
    "node_cpu_usage_seconds_total",
    "node_memory_working_set_bytes",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "container_start_time_seconds",
)


class Unreadable(ValueError):
    """The text is not what a kubelet tells."""


@dataclass(slots=True)
class Point:
    """One thing at one time. None: not told. ``started`` is known of containers only."""

    at: float
    cpu: float | None = None
    memory: int | None = None
    started: float | None = None


@dataclass(slots=True)
class Reading:
    """A node and the containers of its pods, at the time of one look."""

    node: Point
    pods: dict[Pod, dict[str, Point]] = field(default_factory=dict)


def read(text: str, now: float) -> Reading:
    """``now`` is the time of what bears none. Raises Unreadable."""
    found = Reading(Point(now))
    # Most of a kubelet's lines are about other things, and the parser takes its time for each.
    lines = "\n".join(line for line in text.splitlines() if line.startswith(_WANTED)) + "\n"
    try:
        for name, labels, value, moment in _samples(lines):
            point = found.node if name.startswith("node_") else _container(found, labels, now)
            if moment is not None:
                point.at = moment
            if "cpu" in name:
                point.cpu = value
            elif "memory" in name:
                point.memory = int(value)
            else:
                point.started = value
    except (ValueError, KeyError) as problem:
        raise Unreadable(f"not a kubelet's metrics: {problem}") from problem
    return found


def _samples(lines: str) -> Iterator[tuple[str, dict[str, str], float, float | None]]:
    for family in text_string_to_metric_families(lines):
        for sample in family.samples:
            moment = float(sample.timestamp) if sample.timestamp is not None else None
            yield sample.name, sample.labels, sample.value, moment


def _container(found: Reading, labels: dict[str, str], now: float) -> Point:
    pod = found.pods.setdefault((labels["namespace"], labels["pod"]), {})
    return pod.setdefault(labels["container"], Point(now))
