"""Parts of strings, and patterns."""

from typing import Any

from kybern.machinery import regular
from kybern.machinery.cel import measures
from kybern.machinery.cel.functions import Function, Overload, Range
from kybern.machinery.cel.types import BOOL, STRING
from kybern.machinery.cel.values import EvaluationError

_TWO = (STRING, STRING)


def matches(text: str, pattern: str) -> bool:
    try:
        return regular.compiled(pattern).within(text)
    except regular.PatternError as problem:
        raise EvaluationError(str(problem)) from None


def _part(sizes: tuple[Range, ...]) -> Range:
    return measures.by(Range(sizes[1].least, sizes[1].most), measures.TRAVERSAL)


def _whole_count(arguments: tuple[Any, ...], _result: Any) -> int:
    return (measures.size_of(arguments[0]) + 9) // 10


def _product(sizes: tuple[Range, ...]) -> Range:
    one, other = (measures.by(Range(each.least, each.most), measures.TRAVERSAL) for each in sizes)
    return measures.product(one, other)


def _product_count(arguments: tuple[Any, ...], _result: Any) -> int:
    one, other = ((measures.size_of(each) + 9) // 10 for each in arguments)
    return measures.times(one, other)


def _pattern(sizes: tuple[Range, ...]) -> Range:
    """A text of no length costs as one of one."""
    longer = measures.sum_of(Range(sizes[0].least, sizes[0].most), measures.ONE)
    text = measures.by(longer, measures.TRAVERSAL)
    return measures.product(text, measures.by(Range(sizes[1].least, sizes[1].most), measures.PATTERN))


def _pattern_count(arguments: tuple[Any, ...], _result: Any) -> int:
    text = (measures.size_of(arguments[0]) + 10) // 10
    return measures.times(text, (measures.size_of(arguments[1]) + 3) // 4)


FUNCTIONS: tuple[Function, ...] = (
    Function(
        "contains",
        (
            Overload(
                "contains_string", _TWO, BOOL, lambda text, part: part in text,
                member=True, estimate=_product, count=_product_count,
            ),
        ),
    ),
    Function(
        "endsWith",
        (Overload("ends_with_string", _TWO, BOOL, str.endswith, member=True, estimate=_part, count=_whole_count),),
    ),
    Function(
        "startsWith",
        (Overload("starts_with_string", _TWO, BOOL, str.startswith, member=True, estimate=_part, count=_whole_count),),
    ),
    Function(
        "matches",
        (
            Overload("matches", _TWO, BOOL, matches),
            Overload(
                "matches_string", _TWO, BOOL, matches, member=True, estimate=_pattern, count=_pattern_count
            ),
        ),
    ),
)  # fmt: skip
