"""What is used between two readings of a node. Pure.

A rate needs two points. A container that started after the earlier reading is measured from its start, when that is at
least FRESH seconds ago: metrics-server does the same (pkg/storage/pod.go), so that an autoscaler sees new pods early. A
counter that went backwards belongs to another run: there is no rate until the next reading.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kybern.metrics.readings import Pod, Point, Reading

FRESH = 10.0


@dataclass(frozen=True, slots=True)
class Use:
    """``cpu`` in cores on average over the ``window`` seconds before ``at``, ``memory`` in bytes at that time."""

    at: float
    window: float
    cpu: float
    memory: int


def between(before: Point | None, after: Point) -> Use | None:
    """None: it cannot be told yet."""
    if after.cpu is None or after.memory is None:
        return None
    started = after.started
    if before is not None and (started is None or started <= before.at):
        since, cpu = before.at, before.cpu
    elif started is not None and after.at - started >= FRESH:
        since, cpu = started, 0.0
    else:
        return None
    if cpu is None or after.at <= since or after.cpu < cpu:
        return None
    window = after.at - since
    return Use(after.at, window, (after.cpu - cpu) / window, after.memory)


def of_pods(before: Reading | None, after: Reading) -> Mapping[Pod, Mapping[str, Use]]:
    """By pod, then by container; only pods of whose every container it can be told."""
    found = {}
    for pod, containers in after.pods.items():
        earlier = before.pods.get(pod, {}) if before is not None else {}
        uses = {name: between(earlier.get(name), point) for name, point in containers.items()}
        known = {name: use for name, use in uses.items() if use is not None}
        if known and len(known) == len(uses):
            found[pod] = known
    return found
