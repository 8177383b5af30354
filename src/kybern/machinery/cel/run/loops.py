"""Comprehensions. A step that fails makes the total an error, and the loop goes on: a later item may decide all the same."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kybern.machinery.cel import texts
from kybern.machinery.cel.run.frame import UNSET, Frame, Step, attempt, no_overload
from kybern.machinery.cel.run.reach import Slot
from kybern.machinery.cel.values import EvaluationError

_OWN = {
    "bool": "types.Bool", "int": "types.Int", "uint": "types.Uint", "double": "types.Double", "string": "types.String",
    "bytes": "types.Bytes", "null_type": "types.Null", "google.protobuf.Duration": "types.Duration",
    "google.protobuf.Timestamp": "types.Timestamp", "optional_type": "*types.Optional", "type": "*types.Type",
}  # fmt: skip
_LOOP = {False: 2, True: 3}
"""What looking at the total costs before each item: ``all`` reads it, ``exists`` negates it as well."""


@dataclass(frozen=True, slots=True)
class Loop:
    """``item`` and ``second`` are slots. ``start`` makes a total, anew each time; None: it is computed when asked for."""

    over: Step
    total: Slot
    start: Callable[[], Any] | None
    item: int
    second: int | None

    def items(self, value: Any) -> Iterable[Any]:
        if not isinstance(value, list | tuple | dict):
            raise self._no_range(value)
        if self.second is None:
            return value
        return value.items() if isinstance(value, dict) else enumerate(value)

    def _no_range(self, value: Any) -> EvaluationError:
        """cel-go names its own types here."""
        name = _OWN.get(texts.type_name(value), "ref.Val")
        if self.second is not None:
            return EvaluationError(f"unsupported comprehension range type: {name}")
        return EvaluationError(f"got '{name}', expected iterable type")

    def put(self, slots: list[Any], each: Any) -> None:
        if self.second is None:
            slots[self.item] = each
        else:
            slots[self.item], slots[self.second] = each


def fold(loop: Loop, condition: Step | None, advance: Step, result: Step) -> Step:
    """Without a condition all items are gone over."""
    total = loop.total.index

    def step(frame: Frame) -> Any:
        items = loop.items(loop.over(frame))
        slots = frame.slots
        slots[total] = UNSET if loop.start is None else loop.start()
        for each in items:
            loop.put(slots, each)
            if condition is not None and attempt(condition, frame) is False:
                break
            slots[total] = attempt(advance, frame)
            frame.check()
        return result(frame)

    return step


def _after(total: Any, found: Any, deciding: bool) -> Any:
    """What is known after an item that is not as the others: the first error stays until something decides."""
    if found is deciding or isinstance(total, EvaluationError):
        return deciding if found is deciding else total
    return found if isinstance(found, EvaluationError) else no_overload()


def quantify(loop: Loop, holds: Step, *, deciding: bool) -> Step:
    """``exists`` is decided by one item for which it holds, ``all`` by one for which it does not."""
    cost, undecided = _LOOP[deciding], not deciding

    def step(frame: Frame) -> Any:
        items = loop.items(loop.over(frame))
        slots = frame.slots
        total: Any = undecided
        for each in items:
            frame.cost += cost
            if total is deciding:
                break
            frame.cost += 1
            loop.put(slots, each)
            found = attempt(holds, frame)
            if found is not undecided:
                total = _after(total, found, deciding)
            if frame.cost > frame.limit:
                frame.check()
        frame.cost += 1
        if isinstance(total, EvaluationError):
            raise total
        return total

    return step
