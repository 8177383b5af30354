"""/metrics/resource: CPU and memory of node, pods and containers, as metrics-server reads them. Pure.

Names, help and labels are upstream's (pkg/kubelet/metrics/collectors/resource_metrics.go).
"""

from collections.abc import Iterator

from kybern.kubelet.stats.exposition import Family, Sample
from kybern.kubelet.stats.use import ContainerUse, NodeUse, PodUse

_NANO = 1e9
_CPU = "Cumulative cpu time consumed by the {} in core-seconds"
_MEMORY = "Current working set of the {} in bytes"


def families(found: NodeUse | None) -> Iterator[Family]:
    """None: it could not be measured, and only that is told."""
    if found is not None:
        yield from _measured(found)
    failed = Sample({}, 0 if found is not None else 1)
    for name, note in (
        ("resource_scrape_error", "[STABLE]"),
        ("scrape_error", "[ALPHA] (Deprecated since 1.29.0)"),
    ):
        yield Family(
            name,
            "gauge",
            f"{note} 1 if there was an error while getting container metrics, 0 otherwise",
            [failed],
        )


def _measured(found: NodeUse) -> Iterator[Family]:
    containers = [(pod, one) for pod in found.pods for one in pod.containers]
    yield _family("container_cpu_usage_seconds_total", "counter", _CPU.format("container"), (
        Sample(_of(pod, one), one.cpu.total / _NANO, one.cpu.time) for pod, one in containers if one.cpu
    ))  # fmt: skip
    yield _family("container_memory_working_set_bytes", "gauge", _MEMORY.format("container"), (
        Sample(_of(pod, one), one.memory.working_set, one.memory.time) for pod, one in containers if one.memory
    ))  # fmt: skip
    yield _family(
        "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds",
        (Sample(_of(pod, one), one.started) for pod, one in containers if one.started),
    )  # fmt: skip
    yield _family(
        "node_cpu_usage_seconds_total", "counter", _CPU.format("node"),
        iter([Sample({}, found.cpu.total / _NANO, found.cpu.time)]),
    )  # fmt: skip
    yield _family(
        "node_memory_working_set_bytes", "gauge", _MEMORY.format("node"),
        iter([Sample({}, found.memory.working_set, found.memory.time)]),
    )  # fmt: skip
    yield _family("pod_cpu_usage_seconds_total", "counter", _CPU.format("pod"), (
        Sample(_of(pod), pod.cpu.total / _NANO, pod.cpu.time) for pod in found.pods if pod.cpu
    ))  # fmt: skip
    yield _family("pod_memory_working_set_bytes", "gauge", _MEMORY.format("pod"), (
        Sample(_of(pod), pod.memory.working_set, pod.memory.time) for pod in found.pods if pod.memory
    ))  # fmt: skip

    yield from _swap(found, containers)


def _swap(found: NodeUse, containers: list[tuple[PodUse, ContainerUse]]) -> Iterator[Family]:
    swapping = [(_of(pod, one), one.swap) for pod, one in containers if one.swap is not None]
    pods = [(_of(pod), pod.swap) for pod in found.pods if pod.swap is not None]
    yield _alpha("container_swap_usage_bytes", "Current amount of the container swap usage in bytes.", (
        Sample(labels, swap.usage, swap.time) for labels, swap in swapping
    ))  # fmt: skip
    yield _alpha("container_swap_limit_bytes", "Current amount of the container swap limit in bytes.", (
        Sample(labels, swap.usage + swap.available, swap.time) for labels, swap in swapping if swap.available is not None
    ))  # fmt: skip
    yield _alpha("node_swap_usage_bytes", "Current swap usage of the node in bytes.", (
        Sample({}, swap.usage, swap.time) for swap in [found.swap] if swap is not None
    ))  # fmt: skip
    yield _alpha("pod_swap_usage_bytes", "Current amount of the pod swap usage in bytes.", (
        Sample(labels, swap.usage, swap.time) for labels, swap in pods
    ))  # fmt: skip


def _alpha(name: str, about: str, samples: Iterator[Sample]) -> Family:
    return Family(name, "gauge", f"[ALPHA] {about} Reported only on non-windows systems", samples)


def _family(name: str, kind: str, about: str, samples: Iterator[Sample]) -> Family:
    return Family(name, kind, f"[STABLE] {about}", samples)


def _of(pod: PodUse, container: ContainerUse | None = None) -> dict[str, str]:
    labels = {"namespace": pod.namespace, "pod": pod.name}
    return labels if container is None else labels | {"container": container.name}
