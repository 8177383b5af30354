"""kubernetes.quantity: amounts such as 500m and 1.5Gi.

Upstream keeps an amount as an integer and a power of ten as long as that fits into 64 bits, in the form in which it was
sent, and calls only those whole that are plainly so: 1000m is not. ``short`` follows that form; it is None where upstream
goes over to numbers of any length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from kybern.machinery import quantity
from kybern.machinery.cel import reading, types
from kybern.machinery.cel.functions import Function, Library, Overload
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError
from kybern.machinery.quantity import NANO, Format

QUANTITY = types.opaque("kubernetes.Quantity")
_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class QuantityValue:
    TYPE: ClassVar[Type] = QUANTITY
    amount: quantity.Quantity
    short: tuple[int, int] | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuantityValue) and self.amount == other.amount

    def __hash__(self) -> int:
        return hash(self.amount)


def of_string(text: str) -> QuantityValue:
    try:
        return QuantityValue(quantity.parse(text), quantity.short(text))
    except quantity.QuantityError as problem:
        raise EvaluationError(str(problem)) from None


def is_quantity(text: str) -> bool:
    try:
        quantity.parse(text)
    except quantity.QuantityError:
        return False
    return True


def _whole(value: QuantityValue) -> int | None:
    if value.short is None or value.short[1] < 0:
        return None
    number, power = value.short
    found = number * 10 ** min(power, 20)
    return found if -_LIMIT <= found < _LIMIT else None


def is_integer(value: QuantityValue) -> bool:
    return _whole(value) is not None


def as_integer(value: QuantityValue) -> int:
    found = _whole(value)
    if found is None:
        raise EvaluationError("cannot convert value to integer")
    return found


def as_float(value: QuantityValue) -> float:
    number, power = value.short or (value.amount.nano, -9)
    return float(number) * 10.0**power


def compare(value: QuantityValue, other: QuantityValue) -> int:
    return (value.amount.nano > other.amount.nano) - (value.amount.nano < other.amount.nano)


def add(value: QuantityValue, other: QuantityValue) -> QuantityValue:
    return QuantityValue(value.amount + other.amount, _added(value.short, other.short, 1))


def subtract(value: QuantityValue, other: QuantityValue) -> QuantityValue:
    return QuantityValue(value.amount - other.amount, _added(value.short, other.short, -1))


def _added(one: tuple[int, int] | None, other: tuple[int, int] | None, sign: int) -> tuple[int, int] | None:
    """The short form of a sum: the finer of the two powers; a zero takes the other's."""
    if one is None or other is None:
        return None
    if not other[0]:
        return one
    if not one[0]:
        return sign * other[0], other[1]
    power = min(one[1], other[1])
    parts = (one[0] * 10 ** (one[1] - power), sign * other[0] * 10 ** (other[1] - power))
    fits = all(abs(part) < _LIMIT for part in (*parts, sum(parts)))
    return (sum(parts), power) if fits else None


def _of_int(number: int) -> QuantityValue:
    return QuantityValue(quantity.Quantity(number * NANO, Format.EXPONENT), (number, 0))


def add_int(value: QuantityValue, number: int) -> QuantityValue:
    return add(value, _of_int(number))


def subtract_int(value: QuantityValue, number: int) -> QuantityValue:
    return subtract(value, _of_int(number))


def _read(overload: str, result: Type, call: Callable[[str], Any]) -> Overload:
    return Overload(
        overload, (types.STRING,), result, call, estimate=reading.estimate(), count=reading.count()
    )


def _member(overload: str, result: Type, call: Callable[..., Any], *others: Type) -> Overload:
    return Overload(overload, (QUANTITY, *others), result, call, member=True)


LIBRARY = Library(
    "kubernetes.quantity",
    (
        Function("quantity", (_read("string_to_quantity", QUANTITY, of_string),)),
        Function("isQuantity", (_read("is_quantity_string", types.BOOL, is_quantity),)),
        Function(
            "sign", (Overload("quantity_sign", (QUANTITY,), types.INT, lambda value: value.amount.sign()),)
        ),
        Function(
            "isGreaterThan",
            (
                _member(
                    "quantity_is_greater_than",
                    types.BOOL,
                    lambda one, other: one.amount > other.amount,
                    QUANTITY,
                ),
            ),
        ),
        Function(
            "isLessThan",
            (
                _member(
                    "quantity_is_less_than",
                    types.BOOL,
                    lambda one, other: one.amount < other.amount,
                    QUANTITY,
                ),
            ),
        ),
        Function("compareTo", (_member("quantity_compare_to", types.INT, compare, QUANTITY),)),
        Function("asApproximateFloat", (_member("quantity_get_float", types.DOUBLE, as_float),)),
        Function("asInteger", (_member("quantity_get_int", types.INT, as_integer),)),
        Function("isInteger", (_member("quantity_is_integer", types.BOOL, is_integer),)),
        Function(
            "add",
            (
                _member("quantity_add", QUANTITY, add, QUANTITY),
                _member("quantity_add_int", QUANTITY, add_int, types.INT),
            ),
        ),
        Function(
            "sub",
            (
                _member("quantity_sub", QUANTITY, subtract, QUANTITY),
                _member("quantity_sub_int", QUANTITY, subtract_int, types.INT),
            ),
        ),
    ),
)
