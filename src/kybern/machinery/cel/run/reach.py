"""Reading names, fields and places.

cel-go sees a name with what is read from it as one attribute: it costs one, and one for each field or place. What starts
with something computed costs that and one more; what starts with a choice does not. From where a field may be missing
(``a.?b.c``, or a value that is optional) everything behind is optional.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.machinery.cel import texts
from kybern.machinery.cel.run.frame import UNSET, Frame, Step
from kybern.machinery.cel.values import NONE, BudgetExceeded, EvaluationError, Optional, Uint

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a name's value is. ``start`` computes it when it is first asked for; a ``total`` may be an error."""

    index: int
    name: str
    total: bool = False
    mutable: bool = False
    start: Step | None = None


@dataclass(frozen=True, slots=True)
class Qualifier:
    """One field or place: its key, which is known or computed. ``test`` asks only whether it is there."""

    key: Any = None
    compute: Step | None = None
    optional: bool = False
    test: bool = False


def shown(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return texts.double(key) if isinstance(key, float) else str(key)


def read(slot: Slot, cost: int) -> Step:
    if slot.total:
        return _read_total(slot, cost)
    index, name = slot.index, slot.name

    def step(frame: Frame) -> Any:
        frame.cost += cost
        value = frame.slots[index]
        if value is UNSET:
            raise EvaluationError(f"no such attribute(s): {name}")
        return value

    return step


def _read_total(slot: Slot, cost: int) -> Step:
    index, start = slot.index, slot.start

    def step(frame: Frame) -> Any:
        frame.cost += cost
        value = frame.slots[index]
        if value is UNSET and start is not None:
            try:
                value = start(frame)
            except BudgetExceeded:
                raise
            except EvaluationError as problem:
                value = problem
            frame.slots[index] = value
        if isinstance(value, EvaluationError):
            raise value
        return value

    return step


def find(value: Any, key: Any) -> Any:
    """What is at a key, or ABSENT; an error when there can be nothing at such a key."""
    if isinstance(value, dict):
        return _entry(value, key)
    if isinstance(value, list | tuple):
        place = _place(key)
        return value[place] if 0 <= place < len(value) else ABSENT
    if isinstance(value, Optional):
        return find(value.value, key) if value.present else ABSENT
    return ABSENT


def _entry(entries: dict[Any, Any], key: Any) -> Any:
    """Python takes true for 1: where that may be, the key itself is looked for."""
    try:
        if key not in entries:
            return ABSENT
    except TypeError:
        return ABSENT
    if key in (0, 1):
        same = (each for each in entries if isinstance(each, bool) == isinstance(key, bool) and each == key)
        return next((entries[each] for each in same), ABSENT)
    return entries[key]


def _place(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int | float):
        raise EvaluationError(f"unsupported index type '{texts.type_name(key)}' in list")
    whole = isinstance(key, int) or key.is_integer()
    if not whole or not -(2**63) <= key < 2**63:
        raise EvaluationError(f"unsupported index value {shown(key)} in list")
    return int(key)


def get(value: Any, key: Any) -> Any:
    """What is at a key. An optional value gives an optional one."""
    if isinstance(value, Optional):
        found = find(value, key)
        return NONE if found is ABSENT else Optional(True, found)
    found = find(value, key)
    if found is not ABSENT:
        return found
    if isinstance(value, list | tuple):
        raise EvaluationError(f"index out of bounds: {shown(key)}")
    raise EvaluationError(f"no such key: {shown(key)}")


def field(operand: Step, name: str, cost: int) -> Step:
    """``operand.name`` where nothing is optional. ``cost`` is spent before, whatever comes."""

    def costly(frame: Frame) -> Any:
        frame.cost += cost
        return step(frame)

    def step(frame: Frame) -> Any:
        value = operand(frame)
        frame.cost += 1
        try:
            return value[name]
        except (KeyError, TypeError):
            return get(value, name)

    return costly if cost else step


def field_of(slot: Slot, name: str, cost: int) -> Step:
    """``variable.name``, the most frequent of all, in one step."""
    index, both = slot.index, cost + 1

    def step(frame: Frame) -> Any:
        frame.cost += both
        try:
            return frame.slots[index][name]
        except (KeyError, TypeError):
            value = frame.slots[index]
            if value is UNSET:
                frame.cost -= 1
                raise EvaluationError(f"no such attribute(s): {slot.name}") from None
            return get(value, name)

    return step


def has(operand: Step, name: str) -> Step:
    def step(frame: Frame) -> Any:
        value = operand(frame)
        frame.cost += 1
        if isinstance(value, dict):
            return name in value
        found = find(value, name)
        return found is not ABSENT

    return step


def place(operand: Step, qualifier: Qualifier, cost: int) -> Step:
    """``operand[key]`` where nothing is optional."""
    compute, known = qualifier.compute, qualifier.key

    def step(frame: Frame) -> Any:
        frame.cost += cost
        value = operand(frame)
        frame.cost += 1
        key = known if compute is None else compute(frame)
        if type(key) is str and type(value) is dict:
            found = value.get(key, ABSENT)
            if found is not ABSENT:
                return found
        elif type(value) is list and type(key) is int and 0 <= key < len(value):
            return value[key]
        return get(value, key)

    return step


def maybe(operand: Step, qualifiers: tuple[Qualifier, ...], cost: int) -> Step:
    """A chain in which something is optional."""
    test = qualifiers[-1].test

    def step(frame: Frame) -> Any:
        frame.cost += cost
        value = operand(frame)
        optional = isinstance(value, Optional)
        if optional:
            if not value.present:
                return False if test else NONE
            value = value.value
        for each in qualifiers:
            optional = optional or each.optional
            value = _next(frame, value, each, optional=optional)
            if value is ABSENT:
                return False if test else NONE
        if test:
            return value
        return Optional(True, value) if optional else value

    return step


def _next(frame: Frame, value: Any, qualifier: Qualifier, *, optional: bool) -> Any:
    """A place that is missing costs nothing where it may be missing."""
    try:
        key = qualifier.key if qualifier.compute is None else qualifier.compute(frame)
        found = find(value, key) if optional or qualifier.test else get(value, key)
    except EvaluationError:
        frame.cost += 1
        raise
    if found is ABSENT and optional:
        return ABSENT
    frame.cost += 1
    return found is not ABSENT if qualifier.test else found


def set_of(items: list[Any]) -> Callable[[Any], bool] | None:
    """Whether a value is among constants, asked of a set; None: they are not such as sets tell apart."""
    if not all(type(each) in (bool, int, Uint, float, str) for each in items):
        return None
    flags = frozenset(each for each in items if isinstance(each, bool))
    others = frozenset(each for each in items if not isinstance(each, bool))

    def among(value: Any) -> bool:
        if isinstance(value, bool):
            return value in flags
        return isinstance(value, str | int | float) and value in others

    return among
