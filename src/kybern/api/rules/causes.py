"""Checks that many rules make of one field. A rule yields causes; it never raises."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kybern.machinery.causes import (
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
    too_long,
    too_many,
)
from kybern.machinery.errors import Cause

__all__ = [
    "AT_LEAST_ZERO",
    "IMMUTABLE",
    "all_invalid",
    "at_least_zero",
    "duplicate",
    "forbidden",
    "in_range",
    "invalid",
    "not_found",
    "not_supported",
    "one_of",
    "required",
    "too_long",
    "too_many",
    "unchanged",
]

AT_LEAST_ZERO = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"


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
        yield not_supported(field, value if value is not None else "", found)


def unchanged(field: str, new: Any, old: Any, show: Callable[[Any], Any] | None = None) -> Iterator[Cause]:
    """``show``: how the value appears in the message, when it is not as it was sent."""
    if new != old:
        yield invalid(field, show(new) if show is not None and new is not None else new, IMMUTABLE)


def in_range(field: str, value: int, low: int, high: int) -> Iterator[Cause]:
    if not low <= value <= high:
        yield invalid(field, value, f"must be between {low} and {high}, inclusive")
