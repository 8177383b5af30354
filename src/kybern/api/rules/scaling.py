"""What a horizontal pod autoscaler may ask for, by either version: both are checked as autoscaling/v2."""

from collections.abc import Iterator

from kybern.api.rules.causes import all_invalid, forbidden, invalid, not_supported, one_of, required
from kybern.api.rules.formats import path_segment
from kybern.api.rules.labels import selector
from kybern.machinery import quantity
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_SOURCES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_KEYS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS = ("Utilization", "Value", "AverageValue")
_ZERO = quantity.parse("0")
_MOST_SECONDS = 1800
_MOST_WINDOW = 3600


def validate(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most == 0:
        yield required("spec.maxReplicas", "must be set and greater than 0")
    elif most < 0:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to 1")
    if least is not None and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    yield from _target_of("spec.scaleTargetRef", spec.get("scaleTargetRef") or {})
    yield from _metrics("spec.metrics", spec.get("metrics") or [], least)
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if rules is not None:
            yield from _rules(f"spec.behavior.{direction}", rules)


def _reference(field: str, raw: Raw) -> Iterator[Cause]:
    for key in ("kind", "name"):
        value = raw.get(key, "")
        if not value:
            yield required(f"{field}.{key}")
        else:
            yield from all_invalid(f"{field}.{key}", value, path_segment(value))


def _target_of(field: str, raw: Raw) -> Iterator[Cause]:
    """What is scaled: things of a group, since the core ones that can be scaled have no group to say."""
    yield from _reference(field, raw)
    version = raw.get("apiVersion", "")
    at, parts = f"{field}.apiVersion", version.split("/")
    if len(parts) > 2:
        yield invalid(at, version, f"unexpected GroupVersion string: {version}")
    elif raw.get("kind") == "ReplicationController" and version == "v1":
        return
    elif len(parts) < 2 or not parts[0]:
        yield invalid(at, version, "apiVersion must specify API group")


def _metrics(field: str, found: list[Raw], least: int | None) -> Iterator[Cause]:
    beyond_pods = False
    for i, metric in enumerate(found):
        yield from _metric(f"{field}[{i}]", metric)
        beyond_pods = beyond_pods or metric.get("type") in ("Object", "External")
    if least == 0 and not beyond_pods:
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield forbidden(field, text)


def _metric(field: str, raw: Raw) -> Iterator[Cause]:
    kind = raw.get("type", "")
    if not kind:
        yield required(f"{field}.type", "must specify a metric source type")
        return
    if kind not in _SOURCES:
        # said twice, as upstream says it: once of the word, once for want of a source
        yield not_supported(f"{field}.type", kind, _SOURCES)
        yield not_supported(f"{field}.type", kind, _SOURCES)
    given = [name for name in _SOURCES if raw.get(_KEYS[name]) is not None]
    for name in given:
        if name == kind:
            yield from _source(f"{field}.{_KEYS[name]}", kind, raw[_KEYS[name]])
        elif kind in _SOURCES:
            text = "must populate the given metric source only"
            yield forbidden(f"{field}.{_KEYS[name]}", text)
    if kind in _SOURCES and kind not in given:
        yield required(f"{field}.{_KEYS[kind]}", "must populate information for the given metric source")


def _source(field: str, kind: str, raw: Raw) -> Iterator[Cause]:
    target = raw.get("target") or {}
    if kind == "Object":
        yield from _reference(f"{field}.describedObject", raw.get("describedObject") or {})
    if kind in ("Object", "External", "Pods"):
        yield from _identifier(f"{field}.metric", raw.get("metric") or {})
    else:
        if not raw.get("name"):
            yield required(f"{field}.name", "must specify a resource name")
        if kind == "ContainerResource" and not raw.get("container"):
            yield required(f"{field}.container", "must specify a container")
    yield from _target(f"{field}.target", target)
    yield from _wanted(f"{field}.target", kind, target)


def _identifier(field: str, raw: Raw) -> Iterator[Cause]:
    name = raw.get("name", "")
    if not name:
        yield required(f"{field}.name", "must specify a metric name")
    else:
        yield from all_invalid(f"{field}.name", name, path_segment(name))
    yield from selector(f"{field}.selector", raw.get("selector"))


def _target(field: str, raw: Raw) -> Iterator[Cause]:
    if not raw.get("type"):
        yield required(f"{field}.type", "must specify a metric target type")
    elif raw["type"] not in _TARGETS:
        yield invalid(f"{field}.type", raw["type"], "must be either Utilization, Value, or AverageValue")
    for key in ("value", "averageValue"):
        if raw.get(key) is not None and not quantity.parse(raw[key]) > _ZERO:
            yield invalid(f"{field}.{key}", raw[key], "must be positive")
    if raw.get("averageUtilization") is not None and raw["averageUtilization"] < 1:
        yield invalid(f"{field}.averageUtilization", raw["averageUtilization"], "must be greater than 0")


def _wanted(field: str, kind: str, raw: Raw) -> Iterator[Cause]:
    """Which of the values each source needs."""
    value, average = raw.get("value") is not None, raw.get("averageValue") is not None
    if kind == "Pods":
        if not average:
            yield required(f"{field}.averageValue", "must specify a positive target averageValue")
    elif kind == "Object":
        if not (value or average):
            yield required(f"{field}.averageValue", "must set either a target value or averageValue")
    elif kind == "External":
        yield from _of_external(field, value=value, average=average)
    elif kind in ("Resource", "ContainerResource"):
        share = raw.get("averageUtilization") is not None
        yield from _of_resource(field, share=share, average=average)


def _of_external(field: str, *, value: bool, average: bool) -> Iterator[Cause]:
    if value and average:
        yield forbidden(f"{field}.value", "may not set both a target value for metric and a per-pod target")
    elif not (value or average):
        text = "must set either a target value for metric or a per-pod target"
        yield required(f"{field}.averageValue", text)


def _of_resource(field: str, *, share: bool, average: bool) -> Iterator[Cause]:
    if share and average:
        text = "may not set both a target raw value and a target utilization"
        yield forbidden(f"{field}.averageValue", text)
    elif not (share or average):
        text = "must set either a target raw value or a target utilization"
        yield required(f"{field}.averageUtilization", text)


def _rules(field: str, raw: Raw) -> Iterator[Cause]:
    window = raw.get("stabilizationWindowSeconds")
    if window is not None and not 0 <= window <= _MOST_WINDOW:
        yield invalid(
            f"{field}.stabilizationWindowSeconds", window, f"must be between 0 and {_MOST_WINDOW}, inclusive"
        )
    if raw.get("selectPolicy") is not None:
        yield from one_of(f"{field}.selectPolicy", raw["selectPolicy"], ("Disabled", "Max", "Min"))
    policies = raw.get("policies") or []
    if not policies:
        yield required(f"{field}.policies", "must specify at least one Policy")
    for i, policy in enumerate(policies):
        yield from _policy(f"{field}.policies[{i}]", policy)


def _policy(field: str, raw: Raw) -> Iterator[Cause]:
    yield from one_of(f"{field}.type", raw.get("type"), ("Percent", "Pods"))
    for key in ("value", "periodSeconds"):
        if raw.get(key, 0) <= 0:
            yield invalid(f"{field}.{key}", raw.get(key, 0), "must be greater than zero")
    if raw.get("periodSeconds", 0) > _MOST_SECONDS:
        text = f"must be less than or equal to {_MOST_SECONDS}"
        yield invalid(f"{field}.periodSeconds", raw["periodSeconds"], text)
