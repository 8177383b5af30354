"""What ``"...".format([...])`` makes of a value at each of its clauses, in cel-go's form before its version 4.

Fixed and scientific numbers are written as English readers write them: groups of three digits, powers of ten raised.
"""

import math
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from kybern.machinery.causes import quoted
from kybern.machinery.cel import texts
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import Duration, EvaluationError, Timestamp, Uint

_DIGITS = 6
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_TIMES = "\u202f\u00d7\u202f"
_ENDLESS = ("NaN", "Infinity", "-Infinity")
_MOST = 10_000
_SAYS = {
    "s": "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and"
    " timestamps, was given %s",
    "d": "decimal clause can only be used on integers, was given %s",
    "f": "fixed-point clause can only be used on doubles, was given %s",
    "e": "scientific clause can only be used on doubles, was given %s",
    "b": "only integers and bools can be formatted as binary, was given %s",
    "x": "only integers, byte buffers, and strings can be formatted as hex, was given %s",
    "o": "octal clause can only be used on integers, was given %s",
}
_CLAUSE = "could not parse formatting clause: "


def form(pattern: str, arguments: list[Any]) -> str:
    """The text, with an argument in the place of every clause."""
    found: list[str] = []
    at = taken = 0
    while at < len(pattern):
        if pattern[at] != "%":
            end = pattern.find("%", at)
            end = len(pattern) if end < 0 else end
            found.append(pattern[at:end])
            at = end
        elif pattern.startswith("%%", at):
            found.append("%")
            at += 2
        else:
            if taken >= len(arguments):
                raise EvaluationError(f"index {taken} out of range")
            at, clause, digits = _clause(pattern, at + 1)
            found.append(one(clause, digits, arguments[taken]))
            taken += 1
    return "".join(found)


def _clause(pattern: str, at: int) -> tuple[int, str, int]:
    """Where the clause ends, its letter, and how many digits it asks for."""
    if at >= len(pattern):
        raise EvaluationError("unexpected end of string")
    digits = _DIGITS
    if pattern[at] == ".":
        end = at + 1
        while end < len(pattern) and "0" <= pattern[end] <= "9":
            end += 1
        digits, at = _precision(pattern[at + 1 : end], at_end=end >= len(pattern)), end
    if pattern[at] not in "sdfebxXo":
        raise EvaluationError(f'{_CLAUSE}unrecognized formatting clause "{pattern[at]}"')
    return at + 1, pattern[at], digits


def _precision(text: str, *, at_end: bool) -> int:
    says = f"{_CLAUSE}error while parsing precision: "
    if at_end:
        raise EvaluationError(f"{says}could not find end of precision specifier")
    if not text:
        raise EvaluationError(
            f'{says}error while converting precision to integer: strconv.Atoi: parsing "": invalid syntax'
        )
    if len(text) > 5 or int(text) > _MOST:
        raise EvaluationError(f"{says}precision {text} exceeds maximum allowed precision {_MOST}")
    return int(text)


def one(clause: str, digits: int, value: Any) -> str:
    try:
        return _CLAUSES[clause](value, digits)
    except EvaluationError as problem:
        raise EvaluationError(f"error during formatting: {problem}") from None


def _not(clause: str, value: Any) -> EvaluationError:
    return EvaluationError(_SAYS[clause] % texts.type_name(value))


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _decimal(value: Any, _digits: int) -> str:
    if not _integer(value):
        raise _not("d", value)
    return str(int(value))


def _binary(value: Any, _digits: int) -> str:
    if not isinstance(value, int):
        raise _not("b", value)
    return f"{int(value):b}"


def _octal(value: Any, _digits: int) -> str:
    if not _integer(value):
        raise _not("o", value)
    return f"{int(value):o}"


def _hex(value: Any, _digits: int) -> str:
    if isinstance(value, str | bytes):
        return (value.encode() if isinstance(value, str) else value).hex()
    if not _integer(value):
        raise _not("x", value)
    return f"{int(value):x}"


def _number(clause: str, value: Any) -> float:
    if isinstance(value, float) or (isinstance(value, str) and value in _ENDLESS):
        return float(value)
    raise _not(clause, value)


def _endless(number: float) -> str:
    return "NaN" if math.isnan(number) else "∞" if number > 0 else "-∞"


def _fixed(value: Any, digits: int) -> str:
    number = _number("f", value)
    if not math.isfinite(number):
        return _endless(number)
    with localcontext(prec=digits + 400):
        rounded = Decimal(repr(number)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    return f"{rounded:,f}"


def _scientific(value: Any, digits: int) -> str:
    """The digits asked for are the least width, for the digits behind the point are always six: so does cel-go."""
    number = _number("e", value)
    if not math.isfinite(number):
        return _endless(number)
    mantissa, _, power = f"{Decimal(repr(number)):.{_DIGITS}e}".partition("e")
    raised = f"{'-' if int(power) < 0 else ''}{abs(int(power)):02d}".translate(_RAISED)
    return f"{mantissa}{_TIMES}10{raised}".rjust(digits)


def _text(value: Any, _digits: int) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        entries = sorted((_key(key), _literal(each)) for key, each in value.items())
        return f"{{{', '.join(f'{key}:{each}' for key, each in entries)}}}"
    for kind, form_of in _TEXTS:
        if isinstance(value, kind):
            return form_of(value)
    raise _not("s", value)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_TEXTS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (type(None), lambda _value: "null"),
    (str, str),
    (bool, _boolean),
    (int, lambda value: str(int(value))),
    (float, texts.double),
    (bytes, lambda value: value.decode(errors="replace")),
    (Duration, texts.duration),
    (Timestamp, texts.timestamp),
    (Type, str),
)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return quoted(key)
    if isinstance(key, bool | int):
        return _text(key, 0)
    raise EvaluationError(f"no formatting function for map key of type {texts.type_name(key)}")


def _literal(value: Any) -> str:
    """A value within another, as it would be written in an expression."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bytes):
        return f"b{quoted(value.decode(errors='replace'))}"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}f}" if math.isfinite(value) else quoted(texts.double(value))
    if isinstance(value, Duration):
        return f"duration({quoted(texts.duration(value))})"
    if isinstance(value, Timestamp):
        return f"timestamp({quoted(texts.timestamp(value))})"
    if value is None or isinstance(value, bool | int | Uint | list | tuple | dict | Type):
        return _text(value, 0)
    raise EvaluationError(f"no formatting function for {texts.type_name(value)}")


_CLAUSES: dict[str, Callable[[Any, int], str]] = {
    "s": _text,
    "d": _decimal,
    "f": _fixed,
    "e": _scientific,
    "b": _binary,
    "x": _hex,
    "X": lambda value, digits: _hex(value, digits).upper(),
    "o": _octal,
}
