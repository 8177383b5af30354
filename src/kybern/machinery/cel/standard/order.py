"""Which of two is less. Numbers of different types are compared by what they stand for, as doubles where one is one.

NaN has no place among them.
"""

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from kybern.machinery.cel.functions import Function, Overload
from kybern.machinery.cel.standard.logic import smaller, smaller_count
from kybern.machinery.cel.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, Type
from kybern.machinery.cel.values import EvaluationError

_NUMBERS = {"int64": INT, "uint64": UINT, "double": DOUBLE}
_OTHERS = {"bool": BOOL, "string": STRING, "bytes": BYTES, "timestamp": TIMESTAMP, "duration": DURATION}
_OPERATORS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "_<_": ("less", operator.lt),
    "_<=_": ("less_equals", operator.le),
    "_>_": ("greater", operator.gt),
    "_>=_": ("greater_equals", operator.ge),
}


def _doubles(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def found(one: Any, other: Any) -> bool:
        if math.isnan(one) or math.isnan(other):
            raise EvaluationError("NaN values cannot be ordered")
        return compare(float(one), float(other))

    return found


def _numbers(name: str, compare: Callable[[Any, Any], bool]) -> Iterator[Overload]:
    for first, one in _NUMBERS.items():
        for second, other in _NUMBERS.items():
            with_double = DOUBLE in (one, other)
            full = f"{name}_{first}" if first == second else f"{name}_{first}_{second}"
            yield Overload(full, (one, other), BOOL, _doubles(compare) if with_double else compare)


def _others(name: str, compare: Callable[[Any, Any], bool]) -> Iterator[Overload]:
    for kind, found in _OTHERS.items():
        sized = found in (STRING, BYTES)
        yield Overload(
            f"{name}_{kind}", (found, found), BOOL, compare,
            estimate=smaller if sized else None, count=smaller_count if sized else None,
        )  # fmt: skip


def _function(sign: str, name: str, compare: Callable[[Any, Any], bool]) -> Function:
    return Function(sign, (*_numbers(name, compare), *_others(name, compare)))


def same_kind(found: Type) -> bool:
    """Whether Python compares values of a type as the language does."""
    return found in (INT, UINT, STRING, BYTES)


FUNCTIONS: tuple[Function, ...] = tuple(_function(sign, *each) for sign, each in _OPERATORS.items())
