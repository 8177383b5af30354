"""The part of JSONPath that columns and selectable fields use: ``.spec.list[?(@.type=="Ready")].status``.

A path gives all values that it leads to; one that leads nowhere gives none.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

type Step = Callable[[Any], Iterable[Any]]

_FIELD = re.compile(r"\.((?:\\.|[^.\[\]\\])+)")
_QUOTED = re.compile(r"\[(?:'((?:\\.|[^'])*)'|\"((?:\\.|[^\"])*)\")\]")
_SLICE = re.compile(r"\[(-?\d*)(?::(-?\d*))?\]")
_FILTER = re.compile(r"\[\?\(\s*@(\.[^=!<>)\s]+)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*\)\]")
_ANY = re.compile(r"\[\*\]|\.\*")


class Malformed(ValueError):
    """Text that is no path."""


@lru_cache(maxsize=1024)
def path(text: str) -> tuple[Step, ...]:
    """The steps of a path. Raises Malformed."""
    steps: list[Step] = []
    at = 0
    while at < len(text):
        step, at = _step(text, at)
        steps.append(step)
    return tuple(steps)


def find(steps: Iterable[Step], value: Any) -> list[Any]:
    """All that the path leads to."""
    found = [value]
    for step in steps:
        found = [each for one in found for each in step(one)]
    return found


def _step(text: str, at: int) -> tuple[Step, int]:
    if match := _ANY.match(text, at):
        return _every, match.end()
    if match := _FIELD.match(text, at):
        return _key(re.sub(r"\\(.)", r"\1", match[1])), match.end()
    if match := _QUOTED.match(text, at):
        return _key(re.sub(r"\\(.)", r"\1", match[1] or match[2] or "")), match.end()
    if match := _FILTER.match(text, at):
        return _filter(path(match[1]), match[2], _literal(match[3])), match.end()
    if (match := _SLICE.match(text, at)) and match[0] != "[]":
        return _part(match), match.end()
    raise Malformed(f"cannot read {text!r} from {text[at:]!r} on")


def _every(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _key(name: str) -> Step:
    def step(value: Any) -> Iterable[Any]:
        return (value[name],) if isinstance(value, dict) and name in value else ()

    return step


def _part(match: re.Match[str]) -> Step:
    first, last = match[1], match[2]

    def step(value: Any) -> Iterable[Any]:
        if not isinstance(value, list):
            return ()
        if last is not None:
            return value[int(first) if first else None : int(last) if last else None]
        index = int(first)
        return (value[index],) if -len(value) <= index < len(value) else ()

    return step


def _literal(text: str) -> Any:
    if text[:1] in "'\"" and text[-1:] == text[:1]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise Malformed(f"cannot compare with {text}") from None


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    ">": lambda one, other: bool(one > other),
    "<=": lambda one, other: bool(one <= other),
    ">=": lambda one, other: bool(one >= other),
}


def _filter(steps: tuple[Step, ...], operator: str, wanted: Any) -> Step:
    compare = _COMPARED[operator]

    def holds(value: Any) -> bool:
        try:
            return any(compare(found, wanted) for found in find(steps, value))
        except TypeError:
            return False

    def step(value: Any) -> Iterable[Any]:
        return [each for each in value if holds(each)] if isinstance(value, list) else ()

    return step
