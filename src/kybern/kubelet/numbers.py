"""What the kubelet counts of its own work, at /metrics; names, labels and texts are upstream's (pkg/kubelet/metrics).

What happens several times for each pod is tallied without locks (``daemon/tally.py``): all of it is one thread's.
"""

import time
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol

from prometheus_client import Counter, Gauge

from kybern.daemon.tally import Tallies, powers

_USUAL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STARTUP = (
    0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
)  # fmt: skip

_OPERATIONS = Counter(
    "kubelet_runtime_operations",
    "Cumulative number of runtime operations by operation type.",
    ["operation_type"],
)
_FAILED = Counter(
    "kubelet_runtime_operations_errors",
    "Cumulative number of runtime operation errors by operation type.",
    ["operation_type"],
)
_TOOK = Tallies(
    "kubelet_runtime_operations_duration_seconds",
    "Duration in seconds of runtime operations. Broken down by operation type.",
    ["operation_type"],
    powers(0.005, 2.5, 14),
)
_RELISTS = Tallies(
    "kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG.", [], _USUAL
)
_BETWEEN = Tallies(
    "kubelet_pleg_relist_interval_seconds", "Interval in seconds between relisting in PLEG.", [], _USUAL
)
_RELISTED = Gauge("kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.")
SANDBOXES = Counter("kubelet_started_pods", "Cumulative number of pods started")
NO_SANDBOXES = Counter("kubelet_started_pods_errors", "Cumulative number of errors when starting pods")
_SANDBOX_TOOK = Tallies(
    "kubelet_run_podsandbox_duration_seconds",
    "Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass.Handler.",
    ["runtime_handler"],
    _USUAL,
)
_SANDBOX_FAILED = Counter(
    "kubelet_run_podsandbox_errors",
    "Cumulative number of the run_podsandbox operation errors by RuntimeClass.Handler.",
    ["runtime_handler"],
)
STARTED = Counter("kubelet_started_containers", "Cumulative number of containers started", ["container_type"])
NOT_STARTED = Counter(
    "kubelet_started_containers_errors",
    "Cumulative number of errors when starting containers",
    ["container_type", "code"],
)
RUNS = Tallies(
    "kubelet_pod_start_duration_seconds",
    "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
    [],
    _STARTUP,
)
_SYNCS = Tallies(
    "kubelet_pod_worker_duration_seconds",
    "Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
    ["operation_type"],
    _USUAL,
)
REJECTED = Counter(
    "kubelet_admission_rejections", "Cumulative number pod admission rejections by the Kubelet.", ["reason"]
)
ORPHANED = Counter(
    "kubelet_orphaned_runtime_pods",
    "Number of pods that have been detected in the container runtime without being already known to the pod worker. "
    "This typically indicates the kubelet was restarted while a pod was force deleted in the API or in the local "
    "configuration, which is unusual.",
)
RESTARTED = Counter(
    "kubelet_restarted_pods",
    "Number of pods that have been restarted because they were deleted and recreated with the same UID while the kubelet "
    "was watching them (common for static pods, extremely uncommon for API pods)",
    ["static"],
)
_DESIRED = Gauge(
    "kubelet_desired_pods",
    "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.",
    ["static"],
)
_ACTIVE = Gauge("kubelet_active_pods", "The number of pods the kubelet considers active.", ["static"])
_MIRRORS = Gauge(
    "kubelet_mirror_pods",
    "The number of mirror pods the kubelet will try to create (one per admitted static pod)",
)
_WORKING = Gauge(
    "kubelet_working_pods",
    "Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the pod is desired, orphaned, "
    "or runtime only (also orphaned), and whether the pod is static.",
    ["lifecycle", "config", "static"],
)
CGROUP_VERSION = Gauge("kubelet_cgroup_version", "cgroup version on the hosts.")
_LOSING_SUPPORT = Gauge(
    "kubelet_cri_losing_support",
    "the Kubernetes version that the currently running CRI implementation will lose support on if not upgraded.",
    ["version"],
)
_WITHOUT_OLD_RUNTIMES = "1.38.0"
"""Upstream's kubelet asks the runtime for the cgroup driver, and from this version on needs the answer (KEP-4033)."""

# Upstream's names of operations that are no plain spelling of the method's.
_NAMES = {
    "ListPodSandbox": "list_podsandbox", "PodSandboxStatus": "podsandbox_status", "RunPodSandbox": "run_podsandbox",
    "StopPodSandbox": "stop_podsandbox", "RemovePodSandbox": "remove_podsandbox",
    "UpdateContainerResources": "update_container",
}  # fmt: skip


@cache
def operation(method: str) -> str:
    """What upstream calls a request of the Container Runtime Interface: create_container. Pure."""
    plain = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in method)
    return _NAMES.get(method, plain.lstrip("_"))


@contextmanager
def asking(method: str) -> Iterator[None]:
    """One request to the runtime, for as long as the block runs; what leaves it by an exception has failed."""
    name, begun = operation(method), time.monotonic()
    _OPERATIONS.labels(name).inc()
    try:
        yield
    except Exception:
        _FAILED.labels(name).inc()
        raise
    finally:
        _TOOK.of(name).observe(time.monotonic() - begun)


@contextmanager
def making_sandbox(handler: str) -> Iterator[None]:
    """The runtime makes a sandbox for as long as the block runs."""
    begun = time.monotonic()
    try:
        yield
    except Exception:
        _SANDBOX_FAILED.labels(handler).inc()
        raise
    finally:
        _SANDBOX_TOOK.of(handler).observe(time.monotonic() - begun)


@contextmanager
def working(kind: str) -> Iterator[None]:
    """A worker looks after its pod for as long as the block runs. ``kind``: create or sync."""
    begun = time.monotonic()
    try:
        yield
    finally:
        _SYNCS.of(kind).observe(time.monotonic() - begun)


def relisted(seconds: float, between: float | None) -> None:
    """The runtime's pods were listed. ``between``: since the list before began; None at the first."""
    _RELISTS.of().observe(seconds)
    if between is not None:
        _BETWEEN.of().observe(between)
    _RELISTED.set(time.time())


class Working(Protocol):
    """A pod's worker. ``gone``: nobody wants the pod any more; ``stray``: the runtime had it, and nobody else."""

    gone: bool
    stray: bool

    @property
    def static(self) -> bool: ...

    @property
    def ending(self) -> bool: ...

    @property
    def ended(self) -> bool: ...


def lifecycle(worker: Working) -> tuple[str, str, str]:
    """How the metric of working pods counts one: lifecycle, config and static."""
    phase = "terminated" if worker.ended else "terminating" if worker.ending else "sync"
    if worker.stray:
        return phase, "runtime_only", "unknown"
    return phase, "orphan" if worker.gone else "desired", _static(worker)


def _static(worker: Working) -> str:
    return "true" if worker.static else ""


def count_pods(workers: Iterable[Working]) -> None:
    """Set the gauges of pods."""
    found = list(workers)
    seen = Counts(map(lifecycle, found))
    for phase in ("sync", "terminating", "terminated"):
        for config, static in (
            ("desired", ""), ("desired", "true"), ("orphan", ""), ("orphan", "true"), ("runtime_only", "unknown"),
        ):  # fmt: skip
            _WORKING.labels(phase, config, static).set(seen[phase, config, static])
    wanted = Counts(_static(worker) for worker in found if not worker.gone)
    active = Counts(_static(worker) for worker in found if not worker.ending)
    for static in ("", "true"):
        _DESIRED.labels(static).set(wanted[static])
        _ACTIVE.labels(static).set(active[static])
    _MIRRORS.set(sum(worker.static for worker in found))


def old_runtime() -> None:
    """The runtime does not tell its cgroup driver: upstream's kubelet will not run with it for long."""
    _LOSING_SUPPORT.labels(_WITHOUT_OLD_RUNTIMES).set(1)
