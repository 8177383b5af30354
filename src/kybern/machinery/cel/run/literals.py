"""Lists, maps and objects that expressions write out. What is marked with a question mark is left out when it is none."""

from collections.abc import Iterable
from typing import Any

from kybern.machinery.cel import measures, texts
from kybern.machinery.cel.run.frame import Frame, Step
from kybern.machinery.cel.run.reach import shown
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError, Made, Optional


def list_of(items: tuple[Step, ...], optional: frozenset[int]) -> Step:
    if not optional:
        return _plain(items)

    def step(frame: Frame) -> Any:
        frame.cost += measures.LIST
        found: list[Any] = []
        for i, each in enumerate(items):
            value = each(frame)
            if i not in optional:
                found.append(value)
            elif not isinstance(value, Optional):
                raise EvaluationError(f"cannot initialize optional list element from {_plain_value(value)}")
            elif value.present:
                found.append(value.value)
        return found

    return step


def _plain(items: tuple[Step, ...]) -> Step:
    def step(frame: Frame) -> Any:
        frame.cost += measures.LIST
        return [each(frame) for each in items]

    return step


def _plain_value(value: Any) -> str:
    return f"non-optional value {shown(value)}"


type Entries = tuple[tuple[Step, Step, bool], ...]


def map_of(entries: Entries) -> Step:
    def step(frame: Frame) -> Any:
        frame.cost += measures.MAP
        return entries_of(frame, entries)

    return step


def entries_of(frame: Frame, entries: Iterable[tuple[Step, Step, bool]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for make_key, make_value, optional in entries:
        key = make_key(frame)
        if isinstance(key, list | dict):
            raise EvaluationError(f"unsupported key type: {texts.type_name(key)}")
        value = make_value(frame)
        if not optional:
            found[key] = value
        elif not isinstance(value, Optional):
            raise EvaluationError(
                f"cannot initialize optional entry '{shown(key)}' from {_plain_value(value)}"
            )
        elif value.present:
            found[key] = value.value
        else:
            found.pop(key, None)
    return found


def object_of(made: Type, fields: Entries) -> Step:
    def step(frame: Frame) -> Any:
        frame.cost += measures.STRUCT
        return Made(made, entries_of(frame, fields))

    return step
