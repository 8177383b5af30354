"""Sums, products and the like. Integers have 64 bits, and what does not fit is an error; doubles follow IEEE 754."""

import math
from collections.abc import Callable
from typing import Any

from kybern.machinery.cel import measures, moments
from kybern.machinery.cel.compare import joined
from kybern.machinery.cel.functions import Function, Overload, Range
from kybern.machinery.cel.types import BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, A, Type, list_of
from kybern.machinery.cel.values import Duration, EvaluationError, Timestamp, Uint

_LIMIT = 2**63


def whole(number: int) -> int:
    if -_LIMIT <= number < _LIMIT:
        return number
    raise EvaluationError("integer overflow")


def natural(number: int) -> Uint:
    if 0 <= number < 2 * _LIMIT:
        return Uint(number)
    raise EvaluationError("unsigned integer overflow")


def add(one: int, other: int) -> int:
    found = one + other
    return found if -_LIMIT <= found < _LIMIT else whole(found)


def subtract(one: int, other: int) -> int:
    found = one - other
    return found if -_LIMIT <= found < _LIMIT else whole(found)


def _towards_zero(one: int, other: int) -> int:
    if other == 0:
        raise EvaluationError("division by zero")
    found = abs(one) // abs(other)
    return found if (one < 0) == (other < 0) else -found


def divide(one: int, other: int) -> int:
    return whole(_towards_zero(one, other))


def modulo(one: int, other: int) -> int:
    """The remainder has the sign of the first."""
    if other == 0:
        raise EvaluationError("modulus by zero")
    if one == -_LIMIT and other == -1:
        raise EvaluationError("integer overflow")
    return one - other * _towards_zero(one, other)


def _natural_modulo(one: Uint, other: Uint) -> Uint:
    if other == 0:
        raise EvaluationError("modulus by zero")
    return Uint(one % other)


def _double_divide(one: float, other: float) -> float:
    if other:
        return one / other
    if math.isnan(one) or one == 0 or math.isnan(other):
        return math.nan
    return math.copysign(math.inf, one) * math.copysign(1.0, other)


def _double_multiply(one: float, other: float) -> float:
    return one * other


def _later(moment: Timestamp, span: int) -> Timestamp:
    found = moment.nanoseconds + span
    return moments.at(*divmod(found, moments.SECOND))


def _span(nanoseconds: int) -> Duration:
    return Duration(whole(nanoseconds))


def _sum_size(sizes: tuple[Range, ...]) -> Range:
    return measures.sum_of(Range(sizes[0].least, sizes[0].most), Range(sizes[1].least, sizes[1].most))


def _sum_estimate(sizes: tuple[Range, ...]) -> Range:
    return measures.by(_sum_size(sizes), measures.TRAVERSAL)


def _sum_count(arguments: tuple[Any, ...], _result: Any) -> int:
    return (measures.size_of(arguments[0]) + measures.size_of(arguments[1]) + 9) // 10


def _text(name: str, kind: Type) -> Overload:
    return Overload(
        name, (kind, kind), kind, lambda one, other: one + other,
        estimate=_sum_estimate, count=_sum_count, size=_sum_size,
    )  # fmt: skip


def _two(name: str, kind: Type, call: Callable[..., Any]) -> Overload:
    return Overload(name, (kind, kind), kind, call)


_LIST = list_of(A)
_D, _T = DURATION, TIMESTAMP
FUNCTIONS: tuple[Function, ...] = (
    Function(
        "_+_",
        (
            _text("add_bytes", BYTES),
            _two("add_double", DOUBLE, lambda one, other: one + other),
            _two("add_duration_duration", _D, lambda one, other: _span(one.nanoseconds + other.nanoseconds)),
            Overload("add_duration_timestamp", (_D, _T), _T, lambda one, other: _later(other, one.nanoseconds)),
            Overload("add_timestamp_duration", (_T, _D), _T, lambda one, other: _later(one, other.nanoseconds)),
            _two("add_int64", INT, add),
            Overload("add_list", (_LIST, _LIST), _LIST, joined, size=_sum_size),
            _text("add_string", STRING),
            _two("add_uint64", UINT, lambda one, other: natural(one + other)),
        ),
    ),
    Function(
        "_-_",
        (
            _two("subtract_double", DOUBLE, lambda one, other: one - other),
            _two("subtract_duration_duration", _D, lambda one, other: _span(one.nanoseconds - other.nanoseconds)),
            _two("subtract_int64", INT, subtract),
            Overload(
                "subtract_timestamp_duration", (_T, _D), _T, lambda one, other: _later(one, whole(-other.nanoseconds))
            ),
            Overload(
                "subtract_timestamp_timestamp", (_T, _T), _D, lambda one, other: _span(one.nanoseconds - other.nanoseconds)
            ),
            _two("subtract_uint64", UINT, lambda one, other: natural(one - other)),
        ),
    ),
    Function(
        "_*_",
        (
            _two("multiply_double", DOUBLE, _double_multiply),
            _two("multiply_int64", INT, lambda one, other: whole(one * other)),
            _two("multiply_uint64", UINT, lambda one, other: natural(one * other)),
        ),
    ),
    Function(
        "_/_",
        (
            _two("divide_double", DOUBLE, _double_divide),
            _two("divide_int64", INT, divide),
            _two("divide_uint64", UINT, lambda one, other: Uint(_towards_zero(one, other))),
        ),
    ),
    Function("_%_", (_two("modulo_int64", INT, modulo), _two("modulo_uint64", UINT, _natural_modulo))),
    Function(
        "-_",
        (
            Overload("negate_double", (DOUBLE,), DOUBLE, lambda value: -value),
            Overload("negate_int64", (INT,), INT, lambda value: whole(-value)),
        ),
    ),
)  # fmt: skip
