"""Truth and equality. All but negation are planned by the evaluator: they do not need all their arguments."""

from typing import Any

from kybern.machinery.cel import measures
from kybern.machinery.cel.compare import equal
from kybern.machinery.cel.functions import Function, Overload, Range
from kybern.machinery.cel.types import BOOL, A
from kybern.machinery.cel.values import EvaluationError


def planned(*_arguments: Any) -> Any:
    """Stands for what the evaluator does itself."""
    raise EvaluationError("no such overload")


def smaller(sizes: tuple[Range, ...]) -> Range:
    """Two values are compared as far as the shorter goes."""
    most = min(each.most for each in sizes[:2])
    return measures.by(Range(1 if most else 0, most), measures.TRAVERSAL)


def smaller_count(arguments: tuple[Any, ...], _result: Any) -> int:
    return (min(measures.size_of(arguments[0]), measures.size_of(arguments[1])) + 9) // 10


def _unequal(one: Any, other: Any) -> bool:
    return not equal(one, other)


FUNCTIONS: tuple[Function, ...] = (
    Function("_?_:_", (Overload("conditional", (BOOL, A, A), A, planned),)),
    Function("_&&_", (Overload("logical_and", (BOOL, BOOL), BOOL, planned),)),
    Function("_||_", (Overload("logical_or", (BOOL, BOOL), BOOL, planned),)),
    Function("!_", (Overload("logical_not", (BOOL,), BOOL, lambda value: not value),)),
    Function("@not_strictly_false", (Overload("not_strictly_false", (BOOL,), BOOL, planned),)),
    Function("_==_", (Overload("equals", (A, A), BOOL, equal, estimate=smaller, count=smaller_count),)),
    Function(
        "_!=_", (Overload("not_equals", (A, A), BOOL, _unequal, estimate=smaller, count=smaller_count),)
    ),
)
