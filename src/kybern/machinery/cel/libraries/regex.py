"""kubernetes.regex: what in a string matches a pattern."""

from typing import Any

from kybern.machinery import regular
from kybern.machinery.cel import measures, types
from kybern.machinery.cel.functions import Function, Library, Overload, Range
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError


def find(text: str, pattern: str) -> str:
    return _compiled(pattern).first(text)


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    return _compiled(pattern).every(text, limit)


def _compiled(pattern: str) -> regular.Pattern:
    try:
        return regular.compiled(pattern)
    except regular.PatternError as problem:
        raise EvaluationError(f"Illegal regex: {problem}") from None


def _estimate(sizes: tuple[Range, ...]) -> Range:
    """As cel-go's ``matches``: the text and one, times the pattern, neither of them free."""
    text = measures.by(measures.sum_of(sizes[0], measures.ONE), measures.TRAVERSAL)
    return measures.product(text, measures.by(sizes[1], measures.PATTERN))


def _count(arguments: tuple[Any, ...], _result: Any) -> int:
    text = measures.scaled(len(arguments[0]) + 1, measures.TRAVERSAL)
    return measures.times(text, measures.scaled(len(arguments[1]), measures.PATTERN))


def _size(sizes: tuple[Range, ...]) -> Range:
    return Range(0, sizes[0].most)


def _overload(name: str, parameters: tuple[Type, ...], result: Type, call: Any) -> Overload:
    return Overload(name, parameters, result, call, member=True, estimate=_estimate, count=_count, size=_size)


_TEXTS = (types.STRING, types.STRING)
_FOUND = types.list_of(types.STRING)
LIBRARY = Library(
    "kubernetes.regex",
    (
        Function("find", (_overload("string_find_string", _TEXTS, types.STRING, find),)),
        Function(
            "findAll",
            (
                _overload("string_find_all_string", _TEXTS, _FOUND, find_all),
                _overload("string_find_all_string_int", (*_TEXTS, types.INT), _FOUND, find_all),
            ),
        ),
    ),
)
