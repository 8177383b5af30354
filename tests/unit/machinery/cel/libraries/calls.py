"""Calls functions of a library as the evaluator does: by the name of the overload."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Library, Overload, Range
from kybern.machinery.cel.values import EvaluationError


def overload(library: Library, name: str) -> Overload:
    return next(each for function in library.functions for each in function.overloads if each.name == name)


def call(library: Library, name: str, *arguments: Any) -> Any:
    return overload(library, name).call(*arguments)


def fails(library: Library, name: str, *arguments: Any) -> str:
    with pytest.raises(EvaluationError) as found:
        call(library, name, *arguments)
    return str(found.value)


def estimated(library: Library, name: str, *sizes: Range) -> tuple[int, int]:
    estimate = overload(library, name).estimate
    assert estimate is not None
    found = estimate(sizes)
    return found.least, found.most


def size(library: Library, name: str, *sizes: Range) -> tuple[int, int]:
    measure = overload(library, name).size
    assert measure is not None
    found = measure(sizes)
    return found.least, found.most


def counted(library: Library, name: str, *arguments: Any) -> int:
    found = overload(library, name)
    assert found.count is not None
    return found.count(arguments, found.call(*arguments))
