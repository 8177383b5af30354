"""A compiled expression: what it gives, what it reads, what it costs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from kybern.machinery.cel.check.found import Checked
from kybern.machinery.cel.estimate import estimate
from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.known import Sizes
from kybern.machinery.cel.room import with_room
from kybern.machinery.cel.run.frame import UNSET, Frame
from kybern.machinery.cel.run.plan import Planner
from kybern.machinery.cel.syntax.tree import selects
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

BUDGET = 1_000_000
"""What one evaluation may cost in Kubernetes (PerCallLimit)."""


class Program:
    """Made by ``Environment.compile``. It has no state: evaluations do not know each other."""

    __slots__ = ("_checked", "_names", "_slots", "_step")

    def __init__(self, checked: Checked, standard: frozenset[str]) -> None:
        planner = Planner(checked, standard)
        self._checked = checked
        self._step = planner.step()
        self._names = tuple(planner.places.variables.items())
        self._slots = [UNSET] * planner.places.slots

    @property
    def result(self) -> Type:
        return self._checked.result

    def uses(self, variable: str) -> bool:
        """Whether the expression reads a variable. One that comes under another name is not it."""
        return any(name == variable for name, _ in self._names)

    def selects(self, variable: str, field: str) -> bool:
        """Whether ``variable.field`` or ``variable.?field`` is written somewhere in the expression."""
        return selects(self._checked.root, variable, field)

    def evaluate(self, variables: Mapping[str, Any], budget: int = BUDGET) -> tuple[Any, int]:
        """The value, and what it cost. Raises EvaluationError, which knows the cost, or BudgetExceeded."""
        slots: list[Any] = self._slots.copy()
        for name, slot in self._names:
            slots[slot] = variables.get(name, UNSET)
        frame = Frame(slots, budget)
        try:
            found = self._step(frame)
            if frame.cost > budget:
                frame.check()
        except EvaluationError as problem:
            raise self._with_cost(problem, frame) from None
        except RecursionError:
            return with_room(partial(self.evaluate, variables, budget))
        return found, frame.cost

    @staticmethod
    def _with_cost(problem: EvaluationError, frame: Frame) -> EvaluationError:
        try:
            frame.check()
        except EvaluationError as over:
            problem = over
        problem.cost = frame.cost
        return problem

    def estimate(self, sizes: Sizes | None = None) -> Range:
        """What an evaluation costs at the least and at the most, by how large values may be.

        ``sizes`` says that of what lies at a path: a variable, then fields, ``@items``, ``@keys`` and ``@values``; None
        where it is not known. Without it nothing is known, and what grows with its arguments has no bound.
        """
        try:
            return estimate(self._checked, sizes)
        except RecursionError:
            return with_room(partial(estimate, self._checked, sizes))
