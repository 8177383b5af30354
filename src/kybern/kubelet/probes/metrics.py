"""/metrics/probes: how often probes were made and with what outcome. In a registry of its own, as upstream has it."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from kybern.api.core_v1 import Pod

REGISTRY = CollectorRegistry()
_TOTAL = Counter(
    "prober_probe_total",
    "Cumulative number of a liveness, readiness or startup probe for a container by result.",
    ["probe_type", "result", "container", "pod", "namespace", "pod_uid"],
    registry=REGISTRY,
)
_DURATION = Histogram(
    "prober_probe_duration_seconds",
    "Duration in seconds for a probe response.",
    ["probe_type", "container", "pod", "namespace"],
    registry=REGISTRY,
)
_RESULTS = {True: "successful", False: "failed", None: "unknown"}


def count(kind: str, pod: Pod, container: str, ok: bool | None, seconds: float) -> None:
    """One probe was made."""
    title, meta = kind.capitalize(), pod.metadata
    _TOTAL.labels(title, _RESULTS[ok], container, meta.name, meta.namespace, meta.uid).inc()
    if ok:
        _DURATION.labels(title, container, meta.name, meta.namespace).observe(seconds)


def forget(pod: Pod) -> None:
    """A pod is gone, and so are its figures."""
    meta = pod.metadata
    for metric, key in (
        (_TOTAL, {"pod_uid": meta.uid}),
        (_DURATION, {"pod": meta.name, "namespace": meta.namespace}),
    ):
        metric.remove_by_labels(key)
