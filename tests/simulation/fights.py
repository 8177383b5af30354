"""Controllers that fight: two of them set the same field of the same object to values of their own, again and again.

What is looked for is a field that returns to a value that it had, by the hand of another writer than the one who took
that value away; ``FLIPS`` returns in a row are a fight. A change of the same field by somebody outside (users, kubelets)
begins the count anew, since controllers answer to what is outside. That an object is there at all is a field, too, for
objects that are named by their makers.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

type Raw = dict[str, Any]
type Path = tuple[str, ...]

FLIPS = 4
# Who writes, as the clients of controllers say; empty is somebody outside.
WRITER: ContextVar[str] = ContextVar("writer", default="")

_HERE = ("<here>",)
# What every write changes, and what is about writes.
_OF_THE_SERVER = frozenset({"resourceVersion", "generation", "managedFields", "uid", "creationTimestamp"})
_NAMES = ("name", "type", "key", "ip", "uid")


@dataclass(slots=True)
class _Field:
    """``was``: the value before the last change, and who took it away."""

    was: Any = None
    by: str = ""
    returns: int = 0
    writers: set[str] = field(default_factory=set)


class Fights:
    """Hears of every write; ``found`` are sentences, one for each field that is fought over."""

    def __init__(self, flips: int = FLIPS) -> None:
        self.found: list[str] = []
        self._flips = flips
        self._fields: defaultdict[tuple[str, ...], dict[Path, _Field]] = defaultdict(dict)

    def saw(self, writer: str, key: tuple[str, ...], old: Raw | None, new: Raw | None) -> None:
        """One write. ``writer`` is empty for somebody outside; None for an object that is not there."""
        if old is None or new is None:
            self._changed(writer, key, _HERE, old is not None, new is not None)
            return
        for path, before, after in changes(old, new):
            self._changed(writer, key, path, before, after)

    def _changed(self, writer: str, key: tuple[str, ...], path: Path, before: Any, after: Any) -> None:
        known = self._fields[key]
        if not writer:
            known.pop(path, None)
            return
        seen = known.setdefault(path, _Field())
        if seen.by and seen.by != writer and seen.was == after:
            seen.returns += 1
            seen.writers |= {writer, seen.by}
            if seen.returns == self._flips:
                where = "/".join(part for part in key if part)
                self.found.append(
                    f"{' and '.join(sorted(seen.writers))} fight over {'.'.join(path)} of {where}: "
                    f"{before!r} and {after!r} took turns {self._flips} times"
                )
        elif seen.by != writer:
            seen.returns = 0
        seen.was, seen.by = before, writer


def changes(old: Raw, new: Raw) -> Iterator[tuple[Path, Any, Any]]:
    """The fields in which two versions of an object differ, as deep as they have names."""
    yield from _differences((), old, new)


def _differences(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Any, Any]]:
    if old == new:
        return
    before, after = _named(old), _named(new)
    if before is None or after is None:
        yield path, old, new
        return
    for name in sorted(before.keys() | after.keys()):
        if path == ("metadata",) and name in _OF_THE_SERVER:
            continue
        yield from _differences((*path, name), before.get(name), after.get(name))


def _named(value: Any) -> Raw | None:
    """The parts of a value by name: those of an object, and of a list whose items have names."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    for name in _NAMES:
        if value and all(isinstance(item, dict) and name in item for item in value):
            return {str(item[name]): item for item in value}
    return {} if not value else None
