"""Values that may be missing. Which of two is there is planned by the evaluator: it does not need both."""

from typing import Any

from kybern.machinery.cel import moments, texts
from kybern.machinery.cel.functions import Function, Overload
from kybern.machinery.cel.standard.logic import planned
from kybern.machinery.cel.types import BOOL, DYN, STRING, T, list_of, optional_of
from kybern.machinery.cel.values import NONE, Duration, EvaluationError, Optional, Timestamp

_MAYBE, _LIST, _MAYBES = optional_of(T), list_of(T), list_of(optional_of(T))
_ZERO_TIME = moments.at(moments.FIRST)


def value_of(maybe: Optional) -> Any:
    if not maybe.present:
        raise EvaluationError("optional.none() dereference")
    return maybe.value


def _zero(value: Any) -> bool:
    if isinstance(value, Duration):
        return value.nanoseconds == 0
    if isinstance(value, Timestamp):
        return value == _ZERO_TIME
    return value is None or (
        isinstance(value, bool | int | float | str | bytes | list | tuple | dict) and not value
    )


def _non_zero(value: Any) -> Optional:
    return NONE if _zero(value) else Optional(True, value)


def _present(values: list[Any]) -> list[Any]:
    for each in values:
        if not isinstance(each, Optional):
            raise EvaluationError(f"value {texts.type_name(each)} is not optional")
    return [each.value for each in values if each.present]


def _at(place: int, values: list[Any]) -> Optional:
    return Optional(True, values[place]) if values else NONE


FUNCTIONS: tuple[Function, ...] = (
    Function("optional.of", (Overload("optional_of", (T,), _MAYBE, lambda value: Optional(True, value)),)),
    Function("optional.ofNonZeroValue", (Overload("optional_ofNonZeroValue", (T,), _MAYBE, _non_zero),)),
    Function("optional.none", (Overload("optional_none", (), _MAYBE, lambda: NONE),)),
    Function("optional.unwrap", (Overload("optional_unwrap", (_MAYBES,), _LIST, _present),)),
    Function("unwrapOpt", (Overload("optional_unwrapOpt", (_MAYBES,), _LIST, _present, member=True),)),
    Function("value", (Overload("optional_value", (_MAYBE,), T, value_of, member=True),)),
    Function(
        "hasValue",
        (Overload("optional_hasValue", (_MAYBE,), BOOL, lambda maybe: maybe.present, member=True),),
    ),
    Function("or", (Overload("optional_or_optional", (_MAYBE, _MAYBE), _MAYBE, planned, member=True),)),
    Function("orValue", (Overload("optional_orValue_value", (_MAYBE, T), T, planned, member=True),)),
    Function(
        "first", (Overload("list_first", (_LIST,), _MAYBE, lambda values: _at(0, values), member=True),)
    ),
    Function("last", (Overload("list_last", (_LIST,), _MAYBE, lambda values: _at(-1, values), member=True),)),
    Function("_?._", (Overload("select_optional_field", (DYN, STRING), _MAYBE, planned),)),
)
