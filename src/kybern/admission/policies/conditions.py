"""Match conditions of webhooks and policies: expressions that say whether a write is for them at all."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.admission.policies.expression import (
    CONDITIONS_BUDGET,
    Evaluation,
    Expression,
    Failed,
    OutOfBudget,
    expression,
)
from kybern.api.rules.expressions import MUST_BE_TRUE, Scope
from kybern.machinery.cel.types import Type
from kybern.machinery.kind import Raw

type Conditions = tuple[Expression, ...]


class Unclear(Exception):
    """No condition was false, and some could not be evaluated."""


def of(found: Iterable[Raw], scope: Scope, variables: Mapping[str, Type] | None = None) -> Conditions:
    return tuple(expression(one["expression"], scope, MUST_BE_TRUE, variables) for one in found)


def hold(
    conditions: Conditions, seen: Mapping[str, Any], variables: Mapping[str, Expression] | None = None
) -> bool:
    """Whether all are true; one that is false decides, whatever comes of the others. Raises Unclear."""
    evaluation = Evaluation(seen, variables, CONDITIONS_BUDGET)
    errors: list[str] = []
    for condition in conditions:
        try:
            if evaluation.value(condition) is not True:
                return False
        except OutOfBudget as problem:
            raise Unclear(str(problem)) from problem
        except Failed as problem:
            if str(problem) not in errors:
                errors.append(str(problem))
    if errors:
        raise Unclear(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return True
