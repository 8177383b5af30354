"""Upstream's field errors: one function for each way in which a field can be wrong.

A rule yields causes; it never raises. Values are shown as Go shows them: strings quoted, numbers and booleans bare,
everything else as compact JSON.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from kybern.machinery.errors import Cause

AT_LEAST_ZERO = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"


def shown(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def required(field: str, detail: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def invalid(field: str, value: Any, detail: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}")


def unsupported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    known = ", ".join(shown(choice) for choice in supported)
    return Cause(
        field, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {known}"
    )


def forbidden(field: str, detail: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(field: str, value: Any) -> Cause:
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def not_found(field: str, value: Any) -> Cause:
    return Cause(field, "FieldValueNotFound", f"Not found: {shown(value)}")


def too_long(field: str, limit: int) -> Cause:
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def too_many(field: str, found: int, limit: int) -> Cause:
    noun = "item" if limit == 1 else "items"
    return Cause(field, "FieldValueTooMany", f"Too many: {found}: must have at most {limit} {noun}")


def all_invalid(field: str, value: Any, details: Iterable[str]) -> Iterator[Cause]:
    """One cause for every complaint about one value."""
    for detail in details:
        yield invalid(field, value, detail)


def at_least_zero(field: str, value: Any) -> Iterator[Cause]:
    """A number that may be absent, but not negative."""
    if value is not None and value < 0:
        yield invalid(field, value, AT_LEAST_ZERO)


def one_of(field: str, value: Any, choices: Iterable[str]) -> Iterator[Cause]:
    """One of a few words; an empty one counts as unknown."""
    if value not in (found := tuple(choices)):
        yield unsupported(field, value if value is not None else "", found)


def unchanged(field: str, new: Any, old: Any) -> Iterator[Cause]:
    if new != old:
        yield invalid(field, new, IMMUTABLE)


def in_range(field: str, value: int, low: int, high: int) -> Iterator[Cause]:
    if not low <= value <= high:
        yield invalid(field, value, f"must be between {low} and {high}, inclusive")
