"""Port numbers, port names, and values that are a number or a percentage."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules.causes import AT_LEAST_ZERO, all_invalid, in_range, invalid
from kybern.api.rules.formats import percent, port_name
from kybern.machinery.errors import Cause

PROTOCOLS = ("TCP", "UDP", "SCTP")


def number(field: str, value: int) -> Iterator[Cause]:
    return in_range(field, value, 1, 65535)


def number_or_name(field: str, value: Any) -> Iterator[Cause]:
    if isinstance(value, str):
        yield from all_invalid(field, value, port_name(value))
    else:
        yield from number(field, value or 0)


def amount_or_percent(field: str, value: Any) -> Iterator[Cause]:
    """A number of things, or a share of them."""
    if isinstance(value, str):
        yield from all_invalid(field, value, percent(value))
    elif value is not None and value < 0:
        yield invalid(field, value, AT_LEAST_ZERO)


def not_over_all(field: str, value: Any) -> Iterator[Cause]:
    """A share is at most the whole."""
    if isinstance(value, str) and not percent(value) and int(value[:-1]) > 100:
        yield invalid(field, value, "must not be greater than 100%")


def zero(value: Any) -> bool:
    """Whether a number or percentage comes to nothing."""
    if isinstance(value, str):
        return not percent(value) and int(value[:-1]) == 0
    return not value
