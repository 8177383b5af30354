"""When two values are equal, and which is greater, whatever their types.

Numbers are compared by what they stand for (1 == 1u == 1.0), and nothing else is a number: Python's True is 1, CEL's is not.
Values of different types are different, which is no error.
"""

from typing import Any

from kybern.machinery.cel.values import ListMap, ListSet, Optional


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, str):
        return isinstance(other, str) and one == other
    if number(one):
        return number(other) and _same_number(one, other)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and _items(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and _entries(one, other)
    if isinstance(one, Optional) and isinstance(other, Optional):
        return one.present == other.present and (not one.present or equal(one.value, other.value))
    return type(one) is type(other) and bool(one == other)


def _same_number(one: Any, other: Any) -> bool:
    """Where one is a double, both are taken for doubles: large integers lose what those cannot hold."""
    if isinstance(one, float) or isinstance(other, float):
        return float(one) == float(other)
    return bool(one == other)


def _items(one: list[Any] | tuple[Any, ...], other: list[Any] | tuple[Any, ...]) -> bool:
    if len(one) != len(other):
        return False
    if isinstance(one, ListSet):
        return all(among(each, one) for each in other) and all(among(each, other) for each in one)
    if isinstance(one, ListMap):
        return all(any(_fits(one, mine, each) for mine in one) for each in other)
    return all(map(equal, one, other))


def _fits(values: ListMap, one: Any, other: Any) -> bool:
    return equal(values.key(one), values.key(other)) and equal(one, other)


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


def joined(one: list[Any] | tuple[Any, ...], other: list[Any] | tuple[Any, ...]) -> list[Any]:
    """The operator ``+`` for lists: sets take what they have not, maps put what has their key in its place."""
    if isinstance(one, ListSet):
        return ListSet([*one, *_new(one, other)])
    if not isinstance(one, ListMap):
        return [*one, *other]
    found = ListMap(list(one), one.keys)
    for each in other:
        at = next((i for i, mine in enumerate(found) if equal(found.key(mine), found.key(each))), None)
        if at is None:
            found.append(each)
        else:
            found[at] = each
    return found


def _new(one: list[Any], other: list[Any] | tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    for each in other:
        if not among(each, one) and not among(each, found):
            found.append(each)
    return found
