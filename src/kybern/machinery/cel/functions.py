"""How a function is declared: its overloads, what each takes and gives, and what a call of it costs.

A library is a module in ``libraries`` with one ``LIBRARY``, and a line in LIBRARIES (``libraries/__init__.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.machinery.cel.types import Type


@dataclass(frozen=True, slots=True)
class Range:
    """From the least to the most that something costs or measures (cel-go's CostEstimate and SizeEstimate).

    Of an argument more may be known: ``items`` are the sizes of the strings in a list of strings, ``literal`` is what the
    expression has in that place, written out.
    """

    least: int
    most: int
    items: "Range | None" = None
    literal: Any = None


type Estimate = Callable[[tuple[Range, ...]], Range]
"""The estimated cost of a call by the estimated sizes of its arguments (of the target first, for a member)."""
type Count = Callable[[tuple[Any, ...], Any], int]
"""The actual cost of a call by its arguments and result."""


@dataclass(frozen=True, slots=True)
class Overload:
    """One way to call a function. ``name`` is cel-go's overload id.

    ``call`` takes the arguments (the target first) as values.py describes them, and raises EvaluationError. ``member``
    says that it is called on its first parameter: ``a.f(b)``. Without ``estimate`` and ``count`` a call costs 1.
    ``size`` estimates the size of the result, when the result has one (strings, lists).
    """

    name: str
    parameters: tuple[Type, ...]
    result: Type
    call: Callable[..., Any]
    member: bool = False
    estimate: Estimate | None = None
    count: Count | None = None
    size: Callable[[tuple[Range, ...]], Range] | None = None


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    overloads: tuple[Overload, ...]


@dataclass(frozen=True, slots=True)
class Library:
    """``name`` as in k8s.io/apiserver/pkg/cel/environment; ``types`` are those that expressions may name."""

    name: str
    functions: tuple[Function, ...]
    types: tuple[Type, ...] = ()
