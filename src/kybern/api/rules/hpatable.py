"""How a horizontal pod autoscaler (autoscaling/v2) prints: current and wanted value of every metric."""

from typing import Any

from kybern.api.rules.tables import NONE, UNKNOWN, UNSET, dig, first, simple
from kybern.machinery.kind import Column, Raw

_COLUMNS = (
    Column("Reference"),
    Column("Targets"),
    Column("MinPods"),
    Column("MaxPods"),
    Column("Replicas"),
)
_SOURCES = {
    "Object": "object",
    "Pods": "pods",
    "External": "external",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _value(current: Any, target: Any) -> str:
    """One ``current/target`` of an object or external metric: a plain value, or an average a pod."""
    if dig(target, "averageValue") is not None:
        return f"{dig(current, 'averageValue') or UNKNOWN}/{target['averageValue']} (avg)"
    return f"{dig(current, 'value') or UNKNOWN}/{dig(target, 'value') or '<auto>'}"


def _resource(resource: str, current: Any, target: Any) -> str:
    if dig(target, "averageValue") is not None:
        return f"{resource}: {dig(current, 'averageValue') or UNKNOWN}/{target['averageValue']}"
    now, wanted = dig(current, "averageUtilization"), dig(target, "averageUtilization")
    shown = UNKNOWN if now is None else f"{now}%"
    return f"{resource}: {shown}/{'<auto>' if wanted is None else f'{wanted}%'}"


def _metric(spec: Raw, status: Raw | None) -> str:
    kind = spec.get("type", "")
    key = _SOURCES.get(kind)
    if key is None or spec.get(key) is None:
        return "<unknown type>"
    wanted, seen = spec[key], dig(status, key)
    target, current = wanted.get("target"), dig(seen, "current")
    if kind in ("Object", "External"):
        return _value(current, target)
    if kind == "Pods":
        return f"{dig(current, 'averageValue') or UNKNOWN}/{dig(target, 'averageValue') or ''}"
    return _resource(wanted.get("name", ""), current, target)


def _targets(raw: Raw) -> str:
    wanted = dig(raw, "spec", "metrics") or ()
    seen = dig(raw, "status", "currentMetrics") or ()
    if not wanted:
        return NONE
    shown = [_metric(metric, seen[i] if i < len(seen) else None) for i, metric in enumerate(wanted)]
    return first(shown, 2, ", ")


def _cells(raw: Raw) -> list[Any]:
    spec = raw.get("spec") or {}
    reference = f"{dig(spec, 'scaleTargetRef', 'kind') or ''}/{dig(spec, 'scaleTargetRef', 'name') or ''}"
    least = spec.get("minReplicas")
    return [
        reference,
        _targets(raw),
        UNSET if least is None else str(least),
        spec.get("maxReplicas", 0),
        dig(raw, "status", "currentReplicas") or 0,
    ]


TABLE = simple(_COLUMNS, _cells)
