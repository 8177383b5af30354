"""kubernetes.lists: order, sums and places in lists of things that can be compared."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from kybern.machinery.cel import measures, types
from kybern.machinery.cel.compare import equal, greater
from kybern.machinery.cel.functions import Function, Library, Overload, Range
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import Duration, EvaluationError, Uint

_COMPARABLE = {
    "int": types.INT,
    "uint": types.UINT,
    "double": types.DOUBLE,
    "bool": types.BOOL,
    "duration": types.DURATION,
    "timestamp": types.TIMESTAMP,
    "string": types.STRING,
    "bytes": types.BYTES,
}
_LONGEST = 2**63


def _estimate(sizes: tuple[Range, ...]) -> Range:
    """One for each item, and what reading it costs if it is a string."""
    found = sizes[0]
    if found.items is None:
        return Range(found.least, found.most)
    return measures.product(
        found, measures.sum_of(measures.ONE, measures.by(found.items, measures.TRAVERSAL))
    )


def _count(arguments: tuple[Any, ...], _result: Any) -> int:
    return measures.traversal(arguments[0])


def _overload(name: str, parameters: tuple[Type, ...], result: Type, call: Callable[..., Any]) -> Overload:
    return Overload(name, parameters, result, call, member=True, estimate=_estimate, count=_count)


def _each(name: str, result: Callable[[str], str], call: Callable[..., Any]) -> Function:
    overloads = (
        _overload(f"list_{kind}_{result(kind)}", (types.list_of(item),), item, call)
        for kind, item in _COMPARABLE.items()
    )
    return Function(name, tuple(overloads))


def is_sorted(values: list[Any]) -> bool:
    return not any(greater(one, other) for one, other in pairwise(values))


def least(values: list[Any]) -> Any:
    return _best("min", values, greater)


def most(values: list[Any]) -> Any:
    return _best("max", values, lambda one, other: greater(other, one))


def _best(name: str, values: list[Any], worse: Callable[[Any, Any], bool]) -> Any:
    if not values:
        raise EvaluationError(f"{name} called on empty list")
    found = values[0]
    for each in values[1:]:
        if worse(found, each):
            found = each
    return found


def _int(values: list[Any]) -> int:
    total = 0
    for each in _all(values, int):
        total += each
        if not -_LONGEST <= total < _LONGEST:
            raise EvaluationError("integer overflow")
    return total


def _uint(values: list[Any]) -> Uint:
    total = sum(_all(values, Uint))
    if total >= 2 * _LONGEST:
        raise EvaluationError("unsigned integer overflow")
    return Uint(total)


def _double(values: list[Any]) -> float:
    total = 0.0
    for each in _all(values, float):
        total += each
    return total


def _duration(values: list[Any]) -> Duration:
    total = 0
    for each in _all(values, Duration):
        total += each.nanoseconds
        if not -_LONGEST <= total < _LONGEST:
            raise EvaluationError("duration overflow")
    return Duration(total)


def _all(values: list[Any], kind: type) -> list[Any]:
    if not all(isinstance(each, kind) and not isinstance(each, bool) for each in values):
        raise EvaluationError("no such overload")
    return values


def index_of(values: list[Any], item: Any) -> int:
    return next((i for i, each in enumerate(values) if equal(each, item)), -1)


def last_index_of(values: list[Any], item: Any) -> int:
    return next((i for i in range(len(values) - 1, -1, -1) if equal(values[i], item)), -1)


_SUMS: dict[str, Callable[[list[Any]], Any]] = {
    "int": _int, "uint": _uint, "double": _double, "duration": _duration,
}  # fmt: skip
_SORTED = Function(
    "isSorted",
    tuple(
        _overload(f"list_{kind}_is_sorted_bool", (types.list_of(item),), types.BOOL, is_sorted)
        for kind, item in _COMPARABLE.items()
    ),
)
_SUM = Function(
    "sum",
    tuple(
        _overload(f"list_{kind}_sum_{kind}", (types.list_of(_COMPARABLE[kind]),), _COMPARABLE[kind], call)
        for kind, call in _SUMS.items()
    ),
)
_ANY = (types.list_of(types.A), types.A)
LIBRARY = Library(
    "kubernetes.lists",
    (
        _SORTED,
        _SUM,
        _each("max", lambda kind: f"max_{kind}", most),
        _each("min", lambda kind: f"min_{kind}", least),
        Function("indexOf", (_overload("list_a_index_of_int", _ANY, types.INT, index_of),)),
        Function("lastIndexOf", (_overload("list_a_last_index_of_int", _ANY, types.INT, last_index_of),)),
    ),
)
