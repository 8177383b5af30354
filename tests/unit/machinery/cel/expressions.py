"""Compiles and evaluates expressions as tests state them."""

from collections.abc import Mapping
from typing import Any

import pytest

from kybern.machinery.cel import CompileError, Environment, EvaluationError
from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.types import DYN, Type

PLAIN = Environment({})


def environment(variables: Mapping[str, Type]) -> Environment:
    return PLAIN.extend(variables)


def value(source: str, **variables: Any) -> Any:
    """What an expression gives; its variables have no type."""
    return environment(dict.fromkeys(variables, DYN)).compile(source).evaluate(variables)[0]


def cost(source: str, types: Mapping[str, Type] | None = None, **variables: Any) -> int:
    return environment(types or {}).compile(source).evaluate(variables)[1]


def error(source: str, types: Mapping[str, Type] | None = None, **variables: Any) -> str:
    declared = types or dict.fromkeys(variables, DYN)
    with pytest.raises(EvaluationError) as found:
        environment(declared).compile(source).evaluate(variables)
    return str(found.value)


def wrong(source: str, types: Mapping[str, Type] | None = None) -> str:
    """All that is wrong with an expression, as clients see it."""
    with pytest.raises(CompileError) as found:
        environment(types or {}).compile(source)
    return str(found.value)


def messages(source: str, types: Mapping[str, Type] | None = None) -> list[str]:
    with pytest.raises(CompileError) as found:
        environment(types or {}).compile(source)
    return [issue.message for issue in found.value.issues]


def estimated(source: str, types: Mapping[str, Type], sizes: Mapping[str, int]) -> tuple[int, int]:
    """``sizes`` by path: ``input.@items``."""

    def size(path: tuple[str, ...]) -> Range | None:
        most = sizes.get(".".join(path))
        return None if most is None else Range(0, most)

    found = environment(types).compile(source).estimate(size)
    return found.least, found.most
