"""Limit ranges and quotas: bounds on amounts of resources."""

from collections.abc import Iterator

from kybern.api.rules.amounts import OF_QUOTAS, amount, name, standard
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    required,
    unchanged,
)
from kybern.api.rules.formats import qualified_name
from kybern.machinery import quantity
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_SIDES = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)  # fmt: skip
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_EXISTS_ONLY = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")


def limit_range(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    seen: set[str] = set()
    for i, item in enumerate((new.get("spec") or {}).get("limits") or ()):
        at, kind = f"spec.limits[{i}]", item.get("type", "")
        yield from _type(f"{at}.type", kind)
        if kind in seen:
            yield duplicate(f"{at}.type", kind)
        seen.add(kind)
        yield from _item(at, item, kind)


def _type(field: str, kind: str) -> Iterator[Cause]:
    complaints = qualified_name(kind)
    yield from all_invalid(field, kind, complaints)
    if not complaints and "/" not in kind and kind not in _TYPES:
        yield invalid(field, kind, "must be a standard limit type or fully qualified")


def _item(field: str, item: Raw, kind: str) -> Iterator[Cause]:
    given = {side: item.get(side) or {} for side in _SIDES}
    for side in ("max", "min"):
        yield from _names(f"{field}.{side}", given[side])
    for side in ("default", "defaultRequest"):
        if kind != "Pod":
            yield from _names(f"{field}.{side}", given[side])
        elif given[side]:
            yield forbidden(f"{field}.{side}", "may not be specified when `type` is 'Pod'")
    if kind == "PersistentVolumeClaim" and "storage" not in {**given["min"], **given["max"]}:
        text = "either minimum or maximum storage value is required, but neither was provided"
        yield required(f"{field}.limits", text)
    for resource in sorted({key for side in given.values() for key in side}):
        yield from _bounds(field, resource, given)


def _names(field: str, values: dict[str, str]) -> Iterator[Cause]:
    for resource in values:
        yield from name(f"{field}[{resource}]", resource)


def _bounds(field: str, resource: str, given: dict[str, dict[str, str]]) -> Iterator[Cause]:
    """The least is at most what is asked by default, that at most the default, that at most the most."""
    order = ("min", "defaultRequest", "default", "max")
    present = [(side, given[side][resource]) for side in order if resource in given[side]]
    for i, (low_side, low) in enumerate(present):
        for high_side, high in present[i + 1 :]:
            if quantity.parse(low) > quantity.parse(high):
                words = {
                    "min": "min",
                    "defaultRequest": "default request",
                    "default": "default",
                    "max": "max",
                }
                text = f"{words[low_side]} value {low} is greater than {words[high_side]} value {high}"
                yield invalid(f"{field}.{low_side}[{resource}]", low, text)


def quota(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    for resource, text in (spec.get("hard") or {}).items():
        at = f"spec.hard[{resource}]"
        yield from _quota_name(at, resource)
        yield from amount(at, resource, text)
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            yield invalid("spec.scopes", scopes, "unsupported scope")
    yield from _selector("spec.scopeSelector.matchExpressions", (spec.get("scopeSelector") or {}))
    if old is not None:
        was = old.get("spec") or {}
        yield from unchanged("spec.scopes", sorted(scopes), sorted(was.get("scopes") or []))


def _quota_name(field: str, resource: str) -> Iterator[Cause]:
    complaints = qualified_name(resource)
    yield from all_invalid(field, resource, complaints)
    if not complaints and "/" not in resource and resource not in OF_QUOTAS and not standard(resource):
        yield invalid(field, resource, "must be a standard resource for quota")


def _selector(field: str, raw: Raw) -> Iterator[Cause]:
    for expression in raw.get("matchExpressions") or ():
        scope, operator = expression.get("scopeName", ""), expression.get("operator", "")
        values = expression.get("values") or []
        if scope not in _SCOPES:
            yield invalid(f"{field}.scopeName", scope, "unsupported scope")
        elif scope in _EXISTS_ONLY and operator != "Exists":
            text = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
            text += "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
            text += "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            yield invalid(f"{field}.operator", operator, text)
        if operator in ("In", "NotIn") and not values:
            text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield required(f"{field}.values", text)
        elif operator in ("Exists", "DoesNotExist") and values:
            text = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"
            yield invalid(f"{field}.values", values, text)
        elif operator not in _OPERATORS:
            yield invalid(f"{field}.operator", operator, "not a valid selector operator")
