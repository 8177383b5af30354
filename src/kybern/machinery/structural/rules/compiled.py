"""Rules with their programs. Variables are ``self`` and ``oldSelf``, of the type of the place where the rule stands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kybern.machinery.cel import types
from kybern.machinery.cel.schemas import Declared
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError
from kybern.machinery.structural.rules import paths
from kybern.machinery.structural.rules.record import Rule, read

SELF, OLD = "self", "oldSelf"


class CompilationError(Exception):
    """An expression that is none; says where and why, as cel-go prints it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation gave, or why it gave nothing; and what it cost in any case."""

    value: Any
    cost: int
    error: EvaluationError | None = None


class Program(Protocol):
    """A compiled expression. ``most`` is its cost in the worst case, as estimated."""

    @property
    def result(self) -> Type: ...

    @property
    def most(self) -> int: ...

    def uses(self, variable: str) -> bool: ...

    def run(self, variables: Mapping[str, Any], limit: int) -> Outcome: ...


type Compile = Callable[[str, Mapping[str, Type], Declared], Program]
"""Compiles an expression over variables; sizes are those of the declared ``self``. Raises CompilationError."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule, and what became of its expressions. ``path`` is the field that it speaks of, from its own place on."""

    rule: Rule
    program: Program | None = None
    wrong: str = ""
    message: Program | None = None
    message_wrong: str = ""
    path: str = ""

    @property
    def transition(self) -> bool:
        return self.program is not None and self.program.uses(OLD)


def compiled(schema: Mapping[str, Any], declared: Declared, compile_: Compile) -> tuple[Compiled, ...]:
    """The rules of one place; what is wrong with them is in them."""
    return tuple(_compiled(rule, schema, declared, compile_) for rule in read(schema))


def _compiled(rule: Rule, schema: Mapping[str, Any], declared: Declared, compile_: Compile) -> Compiled:
    if not rule.rule.strip():
        return Compiled(rule)
    old = types.optional_of(declared.type) if rule.optional else declared.type
    variables = {SELF: declared.type, OLD: old}
    try:
        program = compile_(rule.rule, variables, declared)
    except CompilationError as problem:
        return Compiled(rule, wrong=_said(problem))
    if program.result != types.BOOL:
        return Compiled(rule, wrong="cel expression must evaluate to a bool")
    message, wrong = _message(rule, variables, declared, compile_)
    return Compiled(rule, program, "", message, wrong, _path(rule, schema))


def _message(
    rule: Rule, variables: Mapping[str, Type], declared: Declared, compile_: Compile
) -> tuple[Program | None, str]:
    if not rule.expression:
        return None, ""
    try:
        program = compile_(rule.expression, variables, declared)
    except CompilationError as problem:
        return None, f"messageExpression {_said(problem)}"
    if program.result != types.STRING:
        return None, "messageExpression must evaluate to a string"
    return program, ""


def _said(problem: CompilationError) -> str:
    """A pattern written out in an expression that is none comes to light when its program is made."""
    text = str(problem)
    return text if text.startswith("program instantiation failed") else f"compilation failed: {text}"


def _path(rule: Rule, schema: Mapping[str, Any]) -> str:
    try:
        return paths.normal(rule.path, schema) if rule.path else ""
    except paths.PathError:
        return ""
