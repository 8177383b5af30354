"""One evaluation: values in their slots, and what has been spent.

Steps add to ``cost`` and do not look at the limit; loops look at it each time round, and a program does in the end. That
stops what would go on, and decides as checking at every step would.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.machinery.cel.values import BudgetExceeded, EvaluationError

OVER = "operation cancelled: actual cost limit exceeded"


class Frame:
    __slots__ = ("cost", "limit", "slots")

    def __init__(self, slots: list[Any], limit: int) -> None:
        self.slots = slots
        self.limit = limit
        self.cost = 0

    def check(self) -> None:
        if self.cost > self.limit:
            raise BudgetExceeded(OVER)


type Step = Callable[[Frame], Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """A step; ``constant`` when its ``value`` is known before."""

    step: Step
    constant: bool = False
    value: Any = None


class Unset:
    """What a slot has before anything is in it."""


UNSET = Unset()


def constant(value: Any) -> Planned:
    return Planned(lambda _frame: value, True, value)


def no_overload() -> EvaluationError:
    """cel-go's words for values that a function does not take."""
    return EvaluationError("no such overload")


def attempt(step: Step, frame: Frame) -> Any:
    """A value, or the error as a value; a budget that is used up ends everything."""
    try:
        return step(frame)
    except BudgetExceeded:
        raise
    except EvaluationError as problem:
        return problem
