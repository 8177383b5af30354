"""autoscaling/v1 and autoscaling/v2 of one autoscaler.

v1 has fields only for the average CPU use of the pods; everything else that v2 knows travels in annotations of v1, as
JSON, so that a client of the older version loses nothing when it writes back what it read.
"""

import json
from typing import Any

from kybern.api.rules.tables import dig
from kybern.machinery.kind import Raw

_PREFIX = "autoscaling.alpha.kubernetes.io/"
# annotation: where its value is in v2
_CARRIED = {
    f"{_PREFIX}metrics": ("spec", "metrics"),
    f"{_PREFIX}behavior": ("spec", "behavior"),
    f"{_PREFIX}current-metrics": ("status", "currentMetrics"),
    f"{_PREFIX}conditions": ("status", "conditions"),
}


def _is_cpu(metric: Any, of: str, where: str) -> bool:
    """Is this metric the one that v1 has a field for?"""
    if metric.get("type") != "Resource" or dig(metric, "resource", "name") != "cpu":
        return False
    return dig(metric, of, where, "averageUtilization") is not None


def _cpu(where: str, percent: int, **more: Any) -> Raw:
    return {"type": "Resource", "resource": {"name": "cpu", where: {**more, "averageUtilization": percent}}}


def _carried(annotations: Raw) -> dict[tuple[str, str], Any]:
    """Take what annotations carry out of them; what is not JSON is dropped, as upstream drops it."""
    found: dict[tuple[str, str], Any] = {}
    for key, where in _CARRIED.items():
        if key in annotations:
            try:
                found[where] = json.loads(annotations.pop(key))
            except ValueError:
                continue
    return found


def _parts(raw: Raw) -> tuple[Raw, Raw, Raw, Raw]:
    """Shallow copies of metadata, annotations, spec and status, to be changed freely."""
    metadata = dict(raw.get("metadata") or {})
    return (
        metadata,
        dict(metadata.get("annotations") or {}),
        dict(raw.get("spec") or {}),
        dict(raw.get("status") or {}),
    )


def _joined(version: str, raw: Raw, parts: tuple[Raw, Raw, Raw, Raw]) -> Raw:
    metadata, annotations, spec, status = parts
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return raw | {"apiVersion": version, "metadata": metadata, "spec": spec, "status": status}


def to_v2(raw: Raw) -> Raw:
    parts = _parts(raw)
    _, annotations, spec, status = parts
    carried = _carried(annotations)
    metrics = list(carried.get(("spec", "metrics")) or ())
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        metrics.append(_cpu("target", percent, type="Utilization"))
    if metrics:
        spec["metrics"] = metrics
    if ("spec", "behavior") in carried:
        spec["behavior"] = carried["spec", "behavior"]
    current = list(carried.get(("status", "currentMetrics")) or ())
    percent = status.pop("currentCPUUtilizationPercentage", None)
    if percent is not None:
        current.append(_cpu("current", percent))
    status["currentMetrics"] = current or None
    if ("status", "conditions") in carried:
        status["conditions"] = carried["status", "conditions"]
    return _joined("autoscaling/v2", raw, parts)


def _split(metrics: Any, where: str) -> tuple[int | None, list[Any]]:
    """The CPU percentage that v1 can say, and the other metrics."""
    percent, others = None, []
    for metric in metrics or ():
        if percent is None and _is_cpu(metric, "resource", where):
            percent = metric["resource"][where]["averageUtilization"]
        else:
            others.append(metric)
    return percent, others


def to_v1(raw: Raw) -> Raw:
    parts = _parts(raw)
    _, annotations, spec, status = parts
    percent, metrics = _split(spec.pop("metrics", None), "target")
    if percent is not None:
        spec["targetCPUUtilizationPercentage"] = percent
    used, current = _split(status.pop("currentMetrics", None), "current")
    if used is not None:
        status["currentCPUUtilizationPercentage"] = used
    others = {
        "metrics": metrics,
        "behavior": spec.pop("behavior", None),
        "current-metrics": current,
        "conditions": status.pop("conditions", None),
    }
    for key, value in others.items():
        if value:
            annotations[_PREFIX + key] = json.dumps(value, separators=(",", ":"))
    status.setdefault("currentReplicas", 0)
    return _joined("autoscaling/v1", raw, parts)
