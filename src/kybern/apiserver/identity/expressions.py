"""Expressions over an identity token's claims and over the user that comes of them (KEP-3331).

``claims`` maps names to JSON values, whose types nobody knows before; numbers are doubles, as Go reads them. ``user`` is
a UserInfo. Conditions must be booleans by their types; what a mapping gives is looked at when it is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, override

from kybern.auth.user import User
from kybern.machinery.cel.environment import Environment
from kybern.machinery.cel.names import unescaped
from kybern.machinery.cel.program import Program
from kybern.machinery.cel.source import CompileError
from kybern.machinery.cel.types import BOOL, DYN, STRING, list_of, map_of, object_of
from kybern.machinery.cel.values import EvaluationError

CLAIMS, USER = "claims", "user"
_USER_INFO = object_of(
    "kubernetes.UserInfo",
    {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))},
)


class _Named(dict[str, Any]):
    """A map whose keys can be written as fields, too: ``claims.example__dot__org`` is that of "example.org"."""

    def __missing__(self, key: object) -> Any:
        if not isinstance(key, str) or not super().__contains__(name := unescaped(key)):
            raise KeyError(key)
        return super().__getitem__(name)

    @override
    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, str) and super().__contains__(unescaped(key)))


class Failed(Exception):
    """An expression gave an error instead of a value."""


@dataclass(frozen=True, slots=True)
class Expression:
    """``message`` is what is said when a condition is false."""

    source: str
    program: Program = field(compare=False)
    message: str = ""

    def value(self, seen: Mapping[str, Any]) -> Any:
        """Raises Failed."""
        try:
            found, _ = self.program.evaluate(seen)
        except EvaluationError as problem:
            raise Failed(f"expression '{self.source}' resulted in error: {problem}") from problem
        return found


@lru_cache
def _environment(variable: str) -> Environment:
    return Environment({variable: map_of(STRING, DYN) if variable == CLAIMS else _USER_INFO})


def mapping(source: str) -> Expression:
    """An expression over claims that gives anything. Raises CompileError."""
    return Expression(source, _compiled(source, CLAIMS))


def condition(source: str, variable: str, message: str = "") -> Expression:
    """Raises CompileError."""
    program = _compiled(source, variable)
    if program.result != BOOL:
        raise CompileError("must evaluate to bool")
    return Expression(source, program, message)


def _compiled(source: str, variable: str) -> Program:
    try:
        return _environment(variable).compile(source)
    except CompileError as problem:
        raise CompileError(f"compilation failed: {problem}", problem.issues) from problem


def seen_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {CLAIMS: _as_doubles(claims)}


def seen_user(user: User) -> dict[str, Any]:
    extra = _Named({key: list(values) for key, values in user.extra.items()})
    info = {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": extra}
    return {USER: info}


def _as_doubles(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, Mapping):
        return _Named({key: _as_doubles(one) for key, one in value.items()})
    return [_as_doubles(one) for one in value] if isinstance(value, list) else value
