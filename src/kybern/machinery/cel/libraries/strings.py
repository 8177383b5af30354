"""cel.lib.ext.strings, version 2: places are counted in characters, cases are ASCII's."""

from collections.abc import Callable
from typing import Any

from kybern.machinery.cel import formatting, measures, reading, types
from kybern.machinery.cel.functions import Count, Estimate, Function, Library, Overload, Range
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_ESCAPES = str.maketrans({
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
})  # fmt: skip


def _outside(at: int) -> EvaluationError:
    return EvaluationError(f"index out of range: {at}")


def char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise _outside(at)
    return text[at : at + 1]


def index_of(text: str, part: str, start: int = 0) -> int:
    if not part:
        return start
    if start < 0:
        raise _outside(start)
    return text.find(part, start)


def last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


def last_index_of_before(text: str, part: str, start: int) -> int:
    """The last place at or before ``start`` where the part begins."""
    if not part:
        return start
    if start < 0:
        raise _outside(start)
    return -1 if start >= len(text) else text.rfind(part, 0, start + len(part))


def replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, max(limit, -1))


def split(text: str, by: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if by:
        return text.split(by, limit - 1 if limit > 0 else -1)
    if limit < 0 or limit >= len(text):
        return list(text)
    return [*text[: limit - 1], text[limit - 1 :]]


def substring(text: str, start: int) -> str:
    if not 0 <= start <= len(text):
        raise _outside(start)
    return text[start:]


def substring_between(text: str, start: int, end: int) -> str:
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    for at in (start, end):
        if not 0 <= at <= len(text):
            raise _outside(at)
    return text[start:end]


def join(texts: list[str], by: str = "") -> str:
    for each in texts:
        if not isinstance(each, str):
            raise EvaluationError(f"join: invalid input: {each}")
    return by.join(texts)


def quote(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def _most(size: int, part: int, whole: int) -> int:
    """How many parts of a length are in a text at most; those of no length stand around every character."""
    return measures.plus(size, 1) if part == 0 else -(-size // whole)


def _replaced(sizes: tuple[Range, ...]) -> Range:
    """The longest and the shortest text that can come of it."""
    text, old, new = sizes[:3]
    many, kept_most = 0, text.most
    if old.least == 0:
        many = _most(text.most, 0, 1)
    elif new.most > old.least:
        many, kept_most = _most(text.most, old.least, old.least), 0
    few, kept_least = 0, text.least
    if old.most == 0:
        few = _most(text.least, 0, 1)
    elif old.most > new.least:
        few, kept_least = _most(text.least, old.most, old.most), 0
    least = measures.plus(measures.times(few, new.least), kept_least)
    return Range(least, measures.plus(measures.times(many, new.most), kept_most))


def _parts(sizes: tuple[Range, ...]) -> Range:
    limit = sizes[2].literal if len(sizes) > 2 else None
    return Range(0, limit % 2**64 if isinstance(limit, int) else sizes[0].most)


def _joined(sizes: tuple[Range, ...]) -> Range:
    texts = sizes[0]
    found = measures.product(Range(texts.least, texts.most), texts.items or measures.UNBOUNDED)
    if len(sizes) > 1:
        gaps = Range(max(texts.least - 1, 0), max(texts.most - 1, 0))
        found = measures.sum_of(found, measures.product(sizes[1], gaps))
    return found


def _join_estimate(sizes: tuple[Range, ...]) -> Range:
    return measures.by(_joined(sizes), measures.TRAVERSAL)


def _join_count(_arguments: tuple[Any, ...], result: Any) -> int:
    return measures.scaled(len(result), 2 * measures.TRAVERSAL)


def _traversal(arguments: tuple[Any, ...], _result: Any) -> int:
    return measures.traversal(arguments[0])


def _quoted(sizes: tuple[Range, ...]) -> Range:
    return Range(measures.plus(sizes[0].least, 2), measures.plus(measures.times(sizes[0].most, 2), 2))


type Costs = tuple[Estimate | None, Count | None, Callable[[tuple[Range, ...]], Range] | None]
_FREE: Costs = (None, None, None)
_READ: Costs = (reading.estimate(), reading.count(), None)
_KEPT: Costs = (reading.estimate(), reading.count(), reading.same)
_FOUND: Costs = (reading.estimate(), _traversal, None)
_REPLACED: Costs = (reading.estimate(2), reading.count(2), _replaced)
_SPLIT: Costs = (reading.estimate(2), reading.count(2), _parts)
_JOINED: Costs = (_join_estimate, _join_count, _joined)
_S, _I, _L = types.STRING, types.INT, types.list_of(types.STRING)


def _member(
    name: str, parameters: tuple[Type, ...], result: Type, call: Callable[..., Any], costs: Costs
) -> Overload:
    estimate, count, size = costs
    return Overload(name, parameters, result, call, member=True, estimate=estimate, count=count, size=size)


LIBRARY = Library(
    "cel.lib.ext.strings",
    (
        Function("charAt", (_member("string_char_at_int", (_S, _I), _S, char_at, _FREE),)),
        Function(
            "indexOf",
            (
                _member("string_index_of_string", (_S, _S), _I, index_of, _FOUND),
                _member("string_index_of_string_int", (_S, _S, _I), _I, index_of, _FOUND),
            ),
        ),
        Function(
            "lastIndexOf",
            (
                _member("string_last_index_of_string", (_S, _S), _I, last_index_of, _FOUND),
                _member("string_last_index_of_string_int", (_S, _S, _I), _I, last_index_of_before, _FOUND),
            ),
        ),
        Function(
            "lowerAscii",
            (_member("string_lower_ascii", (_S,), _S, lambda text: text.translate(_LOWER), _KEPT),),
        ),
        Function(
            "upperAscii",
            (_member("string_upper_ascii", (_S,), _S, lambda text: text.translate(_UPPER), _KEPT),),
        ),
        Function(
            "replace",
            (
                _member("string_replace_string_string", (_S, _S, _S), _S, replace, _REPLACED),
                _member("string_replace_string_string_int", (_S, _S, _S, _I), _S, replace, _REPLACED),
            ),
        ),
        Function(
            "split",
            (
                _member("string_split_string", (_S, _S), _L, split, _SPLIT),
                _member("string_split_string_int", (_S, _S, _I), _L, split, _SPLIT),
            ),
        ),
        Function(
            "substring",
            (
                _member("string_substring_int", (_S, _I), _S, substring, _KEPT),
                _member("string_substring_int_int", (_S, _I, _I), _S, substring_between, _KEPT),
            ),
        ),
        Function("trim", (_member("string_trim", (_S,), _S, lambda text: text.strip(_BLANKS), _KEPT),)),
        Function(
            "join",
            (
                _member("list_join", (_L,), _S, join, _JOINED),
                _member("list_join_string", (_L, _S), _S, join, _JOINED),
            ),
        ),
        Function(
            "format",
            (_member("string_format", (_S, types.list_of(types.DYN)), _S, formatting.form, _READ),),
        ),
        Function(
            "strings.quote",
            (
                Overload(
                    "strings_quote", (_S,), _S, quote,
                    estimate=reading.estimate(), count=reading.count(), size=_quoted,
                ),
            ),
        ),
    ),
)  # fmt: skip
