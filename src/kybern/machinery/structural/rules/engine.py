"""Compiles the rules of custom kinds with everything that Kubernetes lets expressions call."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kybern.machinery.cel.environment import Environment
from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.program import Program
from kybern.machinery.cel.schemas import Declared
from kybern.machinery.cel.source import CompileError
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError
from kybern.machinery.structural.rules.compiled import CompilationError, Outcome


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled rule or message."""

    program: Program
    declared: Declared

    @property
    def result(self) -> Type:
        return self.program.result

    @property
    def most(self) -> int:
        return self.program.estimate(self._size).most

    def _size(self, path: tuple[str, ...]) -> Range | None:
        """Both variables are of the type of the place, so the path goes on from it."""
        return self.declared.size(path[1:]) if path else None

    def uses(self, variable: str) -> bool:
        return self.program.uses(variable)

    def run(self, variables: Mapping[str, Any], limit: int) -> Outcome:
        try:
            value, cost = self.program.evaluate(variables, limit)
        except EvaluationError as problem:
            return Outcome(None, problem.cost, problem)
        return Outcome(value, cost)


@lru_cache(maxsize=1)
def _base() -> Environment:
    return Environment({})


def compile_rule(source: str, variables: Mapping[str, Type], declared: Declared) -> Expression:
    """Raises CompilationError."""
    try:
        return Expression(_base().extend(variables).compile(source), declared)
    except CompileError as problem:
        raise CompilationError(str(problem)) from None
