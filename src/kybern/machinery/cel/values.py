"""What expressions compute with, as Python values.

| CEL | Python |
|---|---|
| null, bool, string, bytes | None, bool, str, bytes |
| int | int (64 bits, checked by the functions that compute) |
| uint | Uint |
| double | float |
| list, map | list or tuple, dict |
| object | the dict that JSON gave: a field that is not there is not a key; a Made is one, too |
| google.protobuf.Duration, Timestamp | Duration, Timestamp: whole nanoseconds |
| optional | Optional |
| a type | kybern.machinery.cel.types.Type |
| a library's own | a frozen class of that library, whose TYPE is its type |

JSON has fewer types than schemas state (a number that is whole, a date that is a string), so ``bind`` in the evaluator turns
values of such fields into theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kybern.machinery.cel.types import Type


class Uint(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    nanoseconds: int


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Since 1970-01-01T00:00:00Z; years 1 to 9999."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Optional:
    """``present`` tells a value of null from none."""

    present: bool
    value: Any = None


NONE = Optional(present=False)


class ListSet(list[Any]):
    """A list in which the order means nothing: x-kubernetes-list-type set."""

    __slots__ = ()


class ListMap(list[Any]):
    """A list whose items are told apart by some of their fields: x-kubernetes-list-type map."""

    __slots__ = ("keys",)

    def __init__(self, items: list[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key(self, item: Any) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in self.keys) if isinstance(item, dict) else (item,)


class EvaluationError(Exception):
    """An expression met a value that it cannot use. The message is cel-go's: ``no such key: x``, ``division by zero``.

    ``cost`` is what had been spent by then, when a program raises it.
    """

    cost = 0


class BudgetExceeded(EvaluationError):
    """The expression has cost more than it may."""


class Made(dict[str, Any]):
    """An object that an expression made: ``name{field: value}``. ``TYPE`` is its type."""

    __slots__ = ("TYPE",)

    def __init__(self, made: Type, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.TYPE = made
