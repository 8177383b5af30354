"""Expressions of policies and match conditions at work: what they see, what they may spend, how their errors are told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kybern.admission.framework import Request
from kybern.admission.seen import View, admission_request
from kybern.admission.selecting import namespace_of
from kybern.api.rules.expressions import Scope, compiled
from kybern.auth.attributes import Attributes, Verdict
from kybern.auth.user import User
from kybern.machinery.cel import types
from kybern.machinery.cel.libraries.authz import Authorizer, Decision, Question, ResourceCheck
from kybern.machinery.cel.program import Program
from kybern.machinery.cel.source import CompileError
from kybern.machinery.cel.values import BudgetExceeded, EvaluationError
from kybern.machinery.errors import BadRequest
from kybern.machinery.fields import parse_fields
from kybern.machinery.kind import Raw

BUDGET, CONDITIONS_BUDGET = 10_000_000, 2_500_000
"""What all expressions of a policy, and all match conditions, may cost together."""
_OUT = "validation failed due to running out of cost budget, no further validation rules will be run"


class Failed(Exception):
    """An expression gave an error instead of a value. ``kind`` is what metrics call it."""

    kind = "invalid_error"


class NotCompiled(Failed):
    kind = "compile_error"


class OutOfBudget(Failed):
    """Nothing more is evaluated."""

    kind = "out_of_budget"

    def __init__(self) -> None:
        super().__init__(_OUT)


@dataclass(frozen=True, slots=True)
class Expression:
    """``program`` is None for one that does not compile; ``error`` says why."""

    source: str
    program: Program | None = field(compare=False)
    error: str = ""


def expression(
    source: str,
    scope: Scope,
    wanted: tuple[types.Type, ...],
    variables: Mapping[str, types.Type] | None = None,
) -> Expression:
    try:
        return Expression(source, compiled(source, scope, wanted, variables))
    except CompileError as problem:
        return Expression(source, None, str(problem))


class Variables(dict[str, Any]):
    """A policy's variables, each computed when it is first read, at the cost of who reads it."""

    def __init__(self, found: Mapping[str, Expression], evaluate: Callable[[Expression], Any]) -> None:
        super().__init__()
        self._expressions = found
        self._evaluate = evaluate

    def __contains__(self, name: object) -> bool:
        return name in self._expressions

    def __getitem__(self, name: str) -> Any:
        if not super().__contains__(name):
            self[name] = self._computed(name)
        found = super().__getitem__(name)
        if isinstance(found, EvaluationError):
            raise found
        return found

    def _computed(self, name: str) -> Any:
        wanted = self._expressions[name]
        if wanted.program is None:
            return EvaluationError(f'composited variable "{name}" fails to compile: {wanted.error}')
        try:
            return self._evaluate(wanted)
        except BudgetExceeded:
            raise
        except EvaluationError as problem:
            return EvaluationError(f'composited variable "{name}" fails to evaluate: {problem}')


class Evaluation:
    """One write before one policy's expressions. ``variables`` are the policy's own."""

    def __init__(
        self, seen: Mapping[str, Any], variables: Mapping[str, Expression] | None = None, budget: int = BUDGET
    ) -> None:
        self._seen = {**seen, "variables": Variables(variables or {}, self._variable)}
        self._left = budget

    def value(self, wanted: Expression) -> Any:
        """Raises Failed, or OutOfBudget."""
        if wanted.program is None:
            raise NotCompiled(f"compilation error: {wanted.error}")
        try:
            found, cost = wanted.program.evaluate(self._seen)
        except EvaluationError as problem:
            self._spend(problem.cost)
            raise Failed(f"expression '{wanted.source}' resulted in error: {problem}") from problem
        self._spend(cost)
        return found

    def _variable(self, wanted: Expression) -> Any:
        assert wanted.program is not None  # who asks knows
        found, cost = wanted.program.evaluate(self._seen)
        self._left -= cost
        return found

    def _spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise OutOfBudget


def visible(seen: View, params: Raw | None, namespace: Raw | None) -> dict[str, Any]:
    """The variables that expressions may name."""
    request = seen.request
    decide = _decider(request)
    of_request = Question(
        group=seen.kind.group,
        resource=seen.kind.plural,
        subresource=request.subresource,
        namespace=namespace_of(request),
        name=request.name,
    )
    return {
        "object": seen.new,
        "oldObject": seen.old,
        "params": params,
        "request": {key: value for key, value in admission_request(seen).items() if value is not None},
        "namespaceObject": namespace,
        "authorizer": Authorizer(decide),
        "authorizer.requestResource": ResourceCheck(decide, of_request),
    }


def _decider(request: Request) -> Callable[[Question], Decision]:
    def decide(question: Question) -> Decision:
        if request.authorize is None:
            return Decision(allowed=False)
        decision = request.authorize(_attributes(request.user, question))
        return Decision(decision.verdict is Verdict.ALLOW, decision.reason)

    return decide


def _attributes(user: User, question: Question) -> Attributes:
    if question.service_account is not None:
        namespace, name = question.service_account
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        user = User(f"system:serviceaccount:{namespace}:{name}", groups)
    if question.path:
        return Attributes(user, question.verb, path=question.path)
    return Attributes(
        user,
        question.verb,
        question.group,
        "*",
        question.resource,
        question.subresource,
        question.namespace,
        question.name,
        field_selector=_requirements(question.field_selector),
    )


def _requirements(text: str) -> tuple[tuple[str, str, str], ...]:
    """What the question is narrowed to. A selector that cannot be read narrows nothing, so nobody is allowed more by it."""
    try:
        return tuple((one.key, one.op, one.value) for one in parse_fields(text).requirements)
    except BadRequest:
        return ()
