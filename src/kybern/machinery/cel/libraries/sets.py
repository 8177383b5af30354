"""cel.lib.ext.sets: lists taken as sets."""

from collections.abc import Callable
from typing import Any

from kybern.machinery.cel import measures, types
from kybern.machinery.cel.compare import among
from kybern.machinery.cel.functions import Count, Estimate, Function, Library, Overload, Range

_LISTS = (types.list_of(types.T), types.list_of(types.T))


def contains(values: list[Any], others: list[Any]) -> bool:
    return all(among(each, values) for each in others)


def equivalent(values: list[Any], others: list[Any]) -> bool:
    return contains(values, others) and contains(others, values)


def intersects(values: list[Any], others: list[Any]) -> bool:
    return any(among(each, others) for each in values)


def _estimate(times: int) -> Estimate:
    def found(sizes: tuple[Range, ...]) -> Range:
        every = measures.product(Range(sizes[0].least, sizes[0].most), sizes[1])
        return measures.sum_of(measures.by(every, times), measures.ONE)

    return found


def _count(times: int) -> Count:
    def found(arguments: tuple[Any, ...], _result: Any) -> int:
        return measures.plus(1, times * len(arguments[0]) * len(arguments[1]))

    return found


def _function(name: str, call: Callable[..., bool], times: int) -> Function:
    overload = Overload(
        f"list_sets_{name}_list", _LISTS, types.BOOL, call, estimate=_estimate(times), count=_count(times)
    )
    return Function(f"sets.{name}", (overload,))


LIBRARY = Library(
    "cel.lib.ext.sets",
    (
        _function("contains", contains, 1),
        _function("equivalent", equivalent, 2),
        _function("intersects", intersects, 1),
    ),
)
