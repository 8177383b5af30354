"""API defaults of horizontal pod autoscalers (autoscaling/v2)."""

from typing import Any

from kybern.machinery.kind import Raw

_CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}
_UP: Raw = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Raw = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value


def _default_rules(behavior: Raw, direction: str, defaults: Raw) -> None:
    rules = behavior.setdefault(direction, {})
    for key, value in defaults.items():
        if rules.get(key) is None:
            rules[key] = _copy(value)


def default_v2(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        spec["metrics"] = [_copy(_CPU)]
    if spec.get("behavior") is not None:
        _default_rules(spec["behavior"], "scaleUp", _UP)
        _default_rules(spec["behavior"], "scaleDown", _DOWN)
    status = raw.setdefault("status", {})
    status.setdefault("desiredReplicas", 0)
    status.setdefault("currentMetrics", None)
