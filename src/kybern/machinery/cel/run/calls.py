"""Calls: arguments are computed, the call is counted, then done.

An argument that fails does not keep the other from being computed where there are two: that is cel-go's, and it costs.
"""

from collections.abc import Callable
from typing import Any

from kybern.machinery.cel.functions import Count
from kybern.machinery.cel.run.frame import Frame, Step, attempt, no_overload
from kybern.machinery.cel.values import BudgetExceeded, EvaluationError, Optional

_FAILED = "?"
"""Stands for an argument or a result that is an error: like that, it has the size one."""
type Invoke = Callable[..., Any]


def invoke(call: Invoke, *arguments: Any) -> Any:
    """Null where a schema has a string, say, is no error of ours."""
    try:
        return call(*arguments)
    except (TypeError, AttributeError):
        if any(each is None for each in arguments):
            raise no_overload() from None
        raise


def none(call: Invoke) -> Step:
    def step(frame: Frame) -> Any:
        frame.cost += 1
        return call()

    return step


def one(argument: Step, call: Invoke, count: Count | None) -> Step:
    def step(frame: Frame) -> Any:
        try:
            value = argument(frame)
        except EvaluationError:
            frame.cost += _cost(count, (_FAILED,))
            raise
        if count is not None:
            return _counted(frame, call, count, (value,))
        frame.cost += 1
        try:
            return call(value)
        except (TypeError, AttributeError):
            if value is None:
                raise no_overload() from None
            raise

    return step


def two(left: Step, right: Step, call: Invoke, count: Count | None) -> Step:
    def step(frame: Frame) -> Any:
        try:
            one = left(frame)
        except BudgetExceeded:
            raise
        except EvaluationError as problem:
            other = attempt(right, frame)
            frame.cost += _cost(count, (_FAILED, _FAILED if isinstance(other, EvaluationError) else other))
            raise problem from None
        try:
            other = right(frame)
        except EvaluationError:
            frame.cost += _cost(count, (one, _FAILED))
            raise
        if count is not None:
            return _counted(frame, call, count, (one, other))
        frame.cost += 1
        try:
            return call(one, other)
        except (TypeError, AttributeError):
            if one is None or other is None:
                raise no_overload() from None
            raise

    return step


def many(arguments: tuple[Step, ...], call: Invoke, count: Count | None) -> Step:
    last = len(arguments) - 1

    def step(frame: Frame) -> Any:
        values: list[Any] = []
        for i, each in enumerate(arguments):
            try:
                values.append(each(frame))
            except EvaluationError:
                if i == last:
                    frame.cost += _cost(count, (*values, _FAILED))
                raise
        if count is None:
            frame.cost += 1
            return invoke(call, *values)
        return _counted(frame, call, count, tuple(values))

    return step


def matches(argument: Step, within: Callable[[str], bool], cost: int) -> Step:
    """``text.matches(pattern)`` with a pattern that is known; ``cost`` is the pattern's for ten characters."""

    def step(frame: Frame) -> Any:
        text = argument(frame)
        if not isinstance(text, str):
            frame.cost += cost
            raise no_overload()
        frame.cost += (len(text) + 10) // 10 * cost
        return within(text)

    return step


def _cost(count: Count | None, arguments: tuple[Any, ...]) -> int:
    """The cost of a call that fails."""
    if count is None:
        return 1
    try:
        return count(arguments, _FAILED)
    except TypeError:  # a null where the count asks for a length
        return 1


def _counted(frame: Frame, call: Invoke, count: Count, arguments: tuple[Any, ...]) -> Any:
    try:
        result = invoke(call, *arguments)
    except EvaluationError:
        frame.cost += _cost(count, arguments)
        raise
    frame.cost += count(arguments, result)
    return result


def choose(condition: Step, yes: Step, no: Step) -> Step:
    def step(frame: Frame) -> Any:
        found = condition(frame)
        if found is True:
            return yes(frame)
        if found is False:
            return no(frame)
        raise no_overload()

    return step


def both(left: Step, right: Step) -> Step:
    return _logical(left, right, deciding=False)


def either(left: Step, right: Step) -> Step:
    return _logical(left, right, deciding=True)


def _logical(left: Step, right: Step, *, deciding: bool) -> Step:
    """One side is enough when it decides, whatever the other is; else the first that is wrong is."""

    def unsure(frame: Frame, problem: Any) -> Any:
        other: Any = attempt(right, frame)
        if other is deciding:
            return deciding
        raise problem if isinstance(problem, EvaluationError) else no_overload()

    def step(frame: Frame) -> Any:
        one: Any = attempt(left, frame)
        if one is deciding:
            return deciding
        if not isinstance(one, bool):
            return unsure(frame, one)
        other = right(frame)
        if isinstance(other, bool):
            return other
        raise no_overload()

    return step


def or_other(left: Step, right: Step, *, unwrap: bool) -> Step:
    """What an optional has, or something else."""

    def step(frame: Frame) -> Any:
        found = left(frame)
        if not isinstance(found, Optional):
            raise no_overload()
        if not found.present:
            return right(frame)
        return found.value if unwrap else found

    return step


def not_false(argument: Step) -> Step:
    """Anything but false, errors included: whether a loop goes on."""

    def step(frame: Frame) -> Any:
        found = attempt(argument, frame)
        frame.cost += 1
        return found is not False

    return step
