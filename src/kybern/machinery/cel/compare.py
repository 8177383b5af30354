"""When two values are equal, and which is greater, whatever their types.

Numbers are compared by what they stand for (1 == 1u == 1.0), and nothing else is a number: Python's True is 1, CEL's is not.
Values of different types are different, which is no error.
"""

from typing import Any

from kybern.machinery.cel.values import Optional


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, str):
        return isinstance(other, str) and one == other
    if number(one):
        return number(other) and bool(one == other)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and _items(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and _entries(one, other)
    if isinstance(one, Optional) and isinstance(other, Optional):
        return one.present == other.present and (not one.present or equal(one.value, other.value))
    return type(one) is type(other) and bool(one == other)


def _items(one: list[Any] | tuple[Any, ...], other: list[Any] | tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(map(equal, one, other))


def _entries(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    return len(one) == len(other) and all(
        key in other and equal(each, other[key]) for key, each in one.items()
    )


def among(value: Any, values: list[Any] | tuple[Any, ...]) -> bool:
    """The operator ``in`` for lists."""
    return any(equal(value, each) for each in values)


def greater(one: Any, other: Any) -> bool:
    """Whether one is greater; never, when the two have no order between them."""
    if number(one) and number(other):
        return bool(one > other)
    return type(one) is type(other) and hasattr(type(one), "__gt__") and _above(one, other)


def _above(one: Any, other: Any) -> bool:
    try:
        return bool(one > other)
    except TypeError:
        return False
