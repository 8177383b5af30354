"""Labels and the selectors over them, as fields of objects."""

from collections.abc import Iterator, Mapping
from typing import Any

from kybern.api.rules.causes import all_invalid, forbidden, invalid, required
from kybern.api.rules.formats import label_value, qualified_name
from kybern.machinery.errors import Cause

_LISTED = ("In", "NotIn")
_BARE = ("Exists", "DoesNotExist")


def labels(field: str, values: Mapping[str, Any] | None) -> Iterator[Cause]:
    for key, value in (values or {}).items():
        yield from all_invalid(field, key, qualified_name(key))
        yield from all_invalid(field, value, label_value(value))


def _expression(field: str, expression: Mapping[str, Any]) -> Iterator[Cause]:
    operator, values = expression.get("operator", ""), expression.get("values") or ()
    if operator in _LISTED:
        if not values:
            yield required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in _BARE:
        if values:
            yield forbidden(
                f"{field}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
    else:
        yield invalid(f"{field}.operator", operator, "not a valid selector operator")
    key = expression.get("key", "")
    yield from all_invalid(f"{field}.key", key, qualified_name(key))
    for i, value in enumerate(values):
        yield from all_invalid(f"{field}.values[{i}]", value, label_value(value))


def selector(field: str, raw: Mapping[str, Any] | None) -> Iterator[Cause]:
    """A label selector; none is fine, whoever needs one asks for it."""
    if raw:
        yield from labels(f"{field}.matchLabels", raw.get("matchLabels"))
        for i, expression in enumerate(raw.get("matchExpressions") or ()):
            yield from _expression(f"{field}.matchExpressions[{i}]", expression)


def parses(raw: Mapping[str, Any] | None) -> bool:
    """Whether a selector can be evaluated at all."""
    return not any(True for _ in selector("", raw))


def _holds(expression: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    key, listed = expression.get("key", ""), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return values.get(key) in listed
        case "NotIn":
            return values.get(key) not in listed
        case "Exists":
            return key in values
    return key not in values


def matches(raw: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """Whether a valid selector selects these labels."""
    wanted = raw.get("matchLabels") or {}
    return all(values.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, values) for expression in raw.get("matchExpressions") or ()
    )


def shown(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A selector as upstream prints it: labels sorted, the parts of requirements in their order."""
    found: dict[str, Any] = {}
    if raw.get("matchLabels"):
        found["matchLabels"] = dict(sorted(raw["matchLabels"].items()))
    if raw.get("matchExpressions"):
        found["matchExpressions"] = [
            {key: each[key] for key in ("key", "operator", "values") if key in each}
            for each in raw["matchExpressions"]
        ]
    return found


def empty(raw: Mapping[str, Any] | None) -> bool:
    return not raw or not (raw.get("matchLabels") or raw.get("matchExpressions"))
