"""The expressions that select devices: what they may name, and that they decide.

Upstream's package dynamic-resource-allocation/cel: one variable ``device``, of which attributes are of any type.
"""

from collections.abc import Iterator
from functools import lru_cache

from kybern.api.rules.causes import invalid, too_long
from kybern.machinery.cel.environment import Environment
from kybern.machinery.cel.libraries import LIBRARIES
from kybern.machinery.cel.libraries.quantity import QUANTITY
from kybern.machinery.cel.source import CompileError
from kybern.machinery.cel.syntax.macros import BINDINGS
from kybern.machinery.cel.types import BOOL, DYN, STRING, map_of, object_of
from kybern.machinery.errors import Cause

_LONGEST = 10 * 1024
_DEVICE = object_of(
    "kubernetes.DRADevice",
    {
        "driver": STRING,
        "attributes": map_of(STRING, map_of(STRING, DYN)),
        "capacity": map_of(STRING, map_of(STRING, QUANTITY)),
        "allowMultipleAllocations": BOOL,
    },
)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """What a selector may name."""
    return Environment({"device": _DEVICE}, LIBRARIES, macros=BINDINGS)


@lru_cache(maxsize=256)
def problem(expression: str) -> str:
    """What is wrong with an expression, in upstream's words; empty when nothing is."""
    try:
        found = environment().compile(expression).result
    except CompileError as error:
        return f"compilation failed: {error}"
    return "" if found in (BOOL, DYN) else f"must evaluate to bool or the unknown type, not {found}"


def selector(field: str, expression: str) -> Iterator[Cause]:
    if len(expression.encode()) > _LONGEST:
        yield too_long(field, _LONGEST)
        return
    says = problem(expression)
    if says:
        yield invalid(field, expression, says)
