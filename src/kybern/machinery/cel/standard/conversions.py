"""From one type to another. What has no value there is an error: numbers out of range, texts that are none."""

import math
import re
from collections.abc import Callable
from typing import Any

from kybern.machinery.cel import measures, moments, texts
from kybern.machinery.cel.functions import Function, Overload, Range
from kybern.machinery.cel.standard.arithmetic import natural, whole
from kybern.machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    A,
    Type,
    type_of,
)  # fmt: skip
from kybern.machinery.cel.values import EvaluationError, Uint

_INT = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DOUBLE = re.compile(
    r"[+-]?(?:inf(?:inity)?|nan|[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?)",
    re.ASCII | re.IGNORECASE,
)
_HEX_DOUBLE = re.compile(r"[+-]?0x[0-9a-f]*\.?[0-9a-f]*p[+-]?[0-9]+", re.ASCII | re.IGNORECASE)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_LIMIT = 2**63


def _cannot(found: Type, wanted: Type) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{found}' to '{wanted}'")


def same(value: Any) -> Any:
    return value


def _int_of_string(text: str) -> int:
    found = int(text) if _INT.fullmatch(text) else _LIMIT
    if not -_LIMIT <= found < _LIMIT:
        raise _cannot(STRING, INT)
    return found


def _uint_of_string(text: str) -> Uint:
    found = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= found < 2 * _LIMIT:
        raise _cannot(STRING, UINT)
    return Uint(found)


def _double_of_string(text: str) -> float:
    if _HEX_DOUBLE.fullmatch(text):
        try:
            return float.fromhex(text)
        except (ValueError, OverflowError):
            raise _cannot(STRING, DOUBLE) from None
    if not _DOUBLE.fullmatch(text):
        raise _cannot(STRING, DOUBLE)
    found = float(text)
    if math.isinf(found) and "inf" not in text.lower():
        raise _cannot(STRING, DOUBLE)
    return found


def _bool_of_string(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _cannot(STRING, BOOL)


def _int_of_double(number: float) -> int:
    if not -_LIMIT < number < _LIMIT:
        raise EvaluationError("integer overflow")
    return int(number)


def _uint_of_double(number: float) -> Uint:
    if not 0 <= number < 2 * _LIMIT:
        raise EvaluationError("unsigned integer overflow")
    return Uint(int(number))


def _string_of_bytes(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


def _timestamp_of_string(text: str) -> Any:
    try:
        return moments.timestamp(text)
    except ValueError:
        raise _cannot(STRING, TIMESTAMP) from None


def _duration_of_string(text: str) -> Any:
    try:
        return moments.span(text)
    except ValueError:
        raise _cannot(STRING, DURATION) from None


def _duration_of_int(_number: int) -> Any:
    """Declared upstream, and done by nobody."""
    raise _cannot(INT, DURATION)


def type_value(value: Any) -> Type:
    return Type(texts.type_name(value))


def _read(sizes: tuple[Range, ...]) -> Range:
    return measures.by(Range(sizes[0].least, sizes[0].most), measures.TRAVERSAL)


def _read_count(arguments: tuple[Any, ...], _result: Any) -> int:
    return (measures.size_of(arguments[0]) + 9) // 10


def _encoded(sizes: tuple[Range, ...]) -> Range:
    return Range(sizes[0].least, sizes[0].most * 4 % 2**64)


def _decoded(sizes: tuple[Range, ...]) -> Range:
    return Range(sizes[0].least // 4, sizes[0].most)


def _one(name: str, found: Type, wanted: Type, call: Callable[..., Any]) -> Overload:
    return Overload(name, (found,), wanted, call)


FUNCTIONS: tuple[Function, ...] = (
    Function("type", (Overload("type", (A,), type_of(A), type_value),)),
    Function("dyn", (Overload("to_dyn", (A,), DYN, same),)),
    Function(
        "bool",
        (_one("bool_to_bool", BOOL, BOOL, same), _one("string_to_bool", STRING, BOOL, _bool_of_string)),
    ),
    Function(
        "bytes",
        (
            _one("bytes_to_bytes", BYTES, BYTES, same),
            Overload(
                "string_to_bytes",
                (STRING,),
                BYTES,
                str.encode,
                estimate=_read,
                count=_read_count,
                size=_encoded,
            ),
        ),
    ),
    Function(
        "double",
        (
            _one("double_to_double", DOUBLE, DOUBLE, same),
            _one("int64_to_double", INT, DOUBLE, float),
            _one("string_to_double", STRING, DOUBLE, _double_of_string),
            _one("uint64_to_double", UINT, DOUBLE, float),
        ),
    ),
    Function(
        "duration",
        (
            _one("duration_to_duration", DURATION, DURATION, same),
            _one("int64_to_duration", INT, DURATION, _duration_of_int),
            _one("string_to_duration", STRING, DURATION, _duration_of_string),
        ),
    ),
    Function(
        "int",
        (
            _one("int64_to_int64", INT, INT, same),
            _one("double_to_int64", DOUBLE, INT, _int_of_double),
            _one("duration_to_int64", DURATION, INT, lambda span: span.nanoseconds),
            _one("string_to_int64", STRING, INT, _int_of_string),
            _one("timestamp_to_int64", TIMESTAMP, INT, lambda moment: moment.nanoseconds // moments.SECOND),
            _one("uint64_to_int64", UINT, INT, lambda number: whole(int(number))),
        ),
    ),
    Function(
        "string",
        (
            _one("string_to_string", STRING, STRING, same),
            _one("bool_to_string", BOOL, STRING, lambda value: "true" if value else "false"),
            Overload(
                "bytes_to_string",
                (BYTES,),
                STRING,
                _string_of_bytes,
                estimate=_read,
                count=_read_count,
                size=_decoded,
            ),
            _one("double_to_string", DOUBLE, STRING, texts.double),
            _one("duration_to_string", DURATION, STRING, texts.duration),
            _one("int64_to_string", INT, STRING, str),
            _one("timestamp_to_string", TIMESTAMP, STRING, texts.timestamp),
            _one("uint64_to_string", UINT, STRING, lambda number: str(int(number))),
        ),
    ),
    Function(
        "timestamp",
        (
            _one("timestamp_to_timestamp", TIMESTAMP, TIMESTAMP, same),
            _one("int64_to_timestamp", INT, TIMESTAMP, moments.at),
            _one("string_to_timestamp", STRING, TIMESTAMP, _timestamp_of_string),
        ),
    ),
    Function(
        "uint",
        (
            _one("uint64_to_uint64", UINT, UINT, same),
            _one("double_to_uint64", DOUBLE, UINT, _uint_of_double),
            _one("int64_to_uint64", INT, UINT, natural),
            _one("string_to_uint64", STRING, UINT, _uint_of_string),
        ),
    ),
)
