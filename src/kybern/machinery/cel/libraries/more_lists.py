"""cel.lib.ext.lists, version 3: parts of lists, flat lists, lists in order.

The macro ``sortBy`` is the parser's; what it calls is here.
"""

from collections.abc import Callable
from typing import Any

from kybern.machinery.cel import measures, types
from kybern.machinery.cel.compare import among
from kybern.machinery.cel.functions import Count, Estimate, Function, Library, Overload, Range
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import Duration, EvaluationError, Timestamp

_LIST = types.list_of(types.T)
_ORDERED = (
    types.INT, types.UINT, types.DOUBLE, types.BOOL, types.DURATION, types.TIMESTAMP, types.STRING, types.BYTES,
)  # fmt: skip
_LONGEST = 10_000_000


def slice_of(values: list[Any], start: int, end: int) -> list[Any]:
    where = f"cannot slice({start}, {end})"
    if start < 0 or end < 0:
        raise EvaluationError(f"{where}, negative indexes not supported")
    if start > end:
        raise EvaluationError(f"{where}, start index must be less than or equal to end index")
    if len(values) < end:
        raise EvaluationError(f"{where}, list is length {len(values)}")
    return values[start:end]


def flatten(values: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    found: list[Any] = []
    for each in values:
        if depth and isinstance(each, list | tuple):
            found += flatten(list(each), depth - 1)
        else:
            found.append(each)
    return found


def sort(values: list[Any]) -> list[Any]:
    return sort_by(values, values)


def sort_by(values: list[Any], keys: list[Any]) -> list[Any]:
    if len(values) != len(keys):
        says = "@sortByAssociatedKeys() expected a list of the same size as the associated keys list"
        raise EvaluationError(f"{says}, but got {len(values)} and {len(keys)} elements respectively")
    if keys and not isinstance(keys[0], int | float | str | bytes | Duration | Timestamp):
        raise EvaluationError("list elements must be comparable")
    if any(type(key) is not type(keys[0]) for key in keys):
        raise EvaluationError("list elements must have the same type")
    return [values[i] for i in sorted(range(len(keys)), key=keys.__getitem__)]


def range_of(count: int) -> list[int]:
    if count > _LONGEST:
        raise EvaluationError(f"cannot make a list of {count} numbers")
    return list(range(count))


def reverse(values: list[Any]) -> list[Any]:
    return list(reversed(values))


def distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for each in values:
        if not among(each, found):
            found.append(each)
    return found


def _number(found: Range, otherwise: int) -> int:
    """What an argument is, if it is written out."""
    literal = found.literal
    if not isinstance(literal, int) or isinstance(literal, bool):
        return otherwise
    return max(literal, 0)


def _made(size: Callable[[tuple[Range, ...]], Range], factor: float = 1) -> Estimate:
    """A list of some size is made."""

    def found(sizes: tuple[Range, ...]) -> Range:
        return measures.sum_of(measures.by(size(sizes), factor), Range(1 + measures.LIST, 1 + measures.LIST))

    return found


def _counted(size: Callable[[tuple[Any, ...], Any], float]) -> Count:
    return lambda arguments, result: measures.plus(int(size(arguments, result)), 1, measures.LIST)


def _slice_size(sizes: tuple[Range, ...]) -> Range:
    found = max(_number(sizes[2], sizes[0].most) - _number(sizes[1], 0), 0)
    return Range(found, found)


def _range_size(sizes: tuple[Range, ...]) -> Range:
    found = _number(sizes[0], measures.MOST)
    return Range(found, found)


def _first(sizes: tuple[Range, ...]) -> Range:
    return Range(sizes[0].least, sizes[0].most)


def _square(at: int) -> Callable[[tuple[Range, ...]], Range]:
    return lambda sizes: measures.product(Range(sizes[at].least, sizes[at].most), sizes[at])


def _flat(sizes: tuple[Range, ...]) -> Range:
    depth = _number(sizes[1], measures.MOST) if len(sizes) > 1 else 1
    return _made(_first, depth)(sizes)


def _flat_count(arguments: tuple[Any, ...], _result: Any) -> float:
    return len(arguments[0]) * (arguments[1] if len(arguments) > 1 else 1)


def _self(at: int) -> Count:
    """Each item is compared with each."""

    def found(arguments: tuple[Any, ...], _result: Any) -> float:
        values = arguments[at]
        text = bool(values) and isinstance(values[0], str | bytes)
        return len(values) ** 2 * (2 + (measures.TRAVERSAL if text else 0))

    return _counted(found)


def _sorted(name: str, item: Type, parameters: tuple[Type, ...], call: Callable[..., Any]) -> Overload:
    text = measures.TRAVERSAL if item in (types.STRING, types.BYTES) else 0
    size = _square(len(parameters) - 1)
    return Overload(
        f"list_{item.name}_{name}", parameters, parameters[0], call, member=True,
        estimate=_made(size, 2 + text), count=_self(len(parameters) - 1), size=size,
    )  # fmt: skip


_LENGTH = _counted(lambda _arguments, result: len(result))
_SLICE = Overload(
    "list_slice", (_LIST, types.INT, types.INT), _LIST, slice_of, member=True,
    estimate=_made(_slice_size), count=_LENGTH, size=_slice_size,
)  # fmt: skip
_FLATTEN = (
    Overload(
        "list_flatten", (types.list_of(_LIST),), _LIST, flatten, member=True,
        estimate=_flat, count=_counted(_flat_count), size=_first,
    ),
    Overload(
        "list_flatten_int", (types.list_of(types.DYN), types.INT), types.list_of(types.DYN), flatten, member=True,
        estimate=_flat, count=_counted(_flat_count), size=_first,
    ),
)  # fmt: skip
_RANGE = Overload(
    "lists_range", (types.INT,), types.list_of(types.INT), range_of,
    estimate=_made(_range_size), count=_LENGTH, size=_range_size,
)  # fmt: skip
_REVERSE = Overload(
    "list_reverse", (_LIST,), _LIST, reverse, member=True, estimate=_made(_first), count=_LENGTH, size=_first
)
_DISTINCT = Overload(
    "list_distinct", (_LIST,), _LIST, distinct, member=True,
    estimate=_made(_square(0), 2), count=_self(0), size=_square(0),
)  # fmt: skip
LIBRARY = Library(
    "cel.lib.ext.lists",
    (
        Function("slice", (_SLICE,)),
        Function("flatten", _FLATTEN),
        Function("sort", tuple(_sorted("sort", item, (types.list_of(item),), sort) for item in _ORDERED)),
        Function(
            "@sortByAssociatedKeys",
            tuple(
                _sorted("sortByAssociatedKeys", item, (_LIST, types.list_of(item)), sort_by)
                for item in _ORDERED
            ),
        ),
        Function("lists.range", (_RANGE,)),
        Function("reverse", (_REVERSE,)),
        Function("distinct", (_DISTINCT,)),
    ),
)
