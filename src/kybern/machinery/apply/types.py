"""What a schema says of the fields of a value: which it has, which it treats as one, and what tells items apart.

A ``Type`` answers four questions: what changed between two values (``diff``), all fields of a value (``added``), the
fields that who applies a value owns (``owned``), and what a value becomes when another is applied on top (``merged``).
They differ in small ways that are upstream's: a new map is a member of the set of changes, and not of the owned fields.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from kybern.machinery.apply import sets
from kybern.machinery.apply.sets import LEAF, Set

type Diff = tuple[Set | None, Set | None]
"""What was added or modified, and what was removed; None for nothing, a leaf for the value itself."""

ITSELF: Mapping[str, Set] = {".": LEAF}
_ABSENT: Any = object()


class Type:
    """A value that is one whole: a scalar, or an atomic list or map."""

    def __init__(self, sort: str = "") -> None:
        self.sort = sort

    def added(self, value: Any) -> Set:
        return LEAF

    def owned(self, value: Any) -> Set | None:
        """None when the value holds no field of its own."""
        return LEAF

    def diff(self, old: Any, new: Any) -> Diff:
        return (None, None) if old == new and old.__class__ is new.__class__ else (LEAF, None)

    def merged(self, old: Any, new: Any) -> Any:
        return new

    def removed(self, value: Any, fields: Set) -> Any:
        return value

    def below(self, element: str) -> "Type | None":
        """The type of what an element names, None when there is no such."""
        return None

    def declared(self, element: str) -> bool:
        """Whether the element is a field of a struct."""
        return False

    def wrong(self, value: Any, path: str) -> Iterator[str]:
        """What about an applied value does not fit the schema."""
        if value is None or not self.sort:
            return
        if self.sort == "string" and not isinstance(value, str):
            yield f"{path}: expected string, got &value.valueUnstructured{{Value:{_go(value)}}}"
        elif self.sort == "boolean" and not isinstance(value, bool):
            yield f"{path}: expected boolean, got &{{{_plain(value)}}}"
        elif self.sort in ("integer", "number") and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            yield f"{path}: expected numeric (int or float), got {_named(value)}"
        elif self.sort == "array" and not isinstance(value, list):
            yield f"{path}: expected list, got &{{{_plain(value)}}}"
        elif self.sort == "object" and not isinstance(value, dict):
            yield f"{path}: expected map, got &{{{_plain(value)}}}"


def _go(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_plain(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_plain(each) for each in value) + "]"
    return "<nil>" if value is None else _go(value)


def _named(value: Any) -> str:
    names = {bool: "bool", str: "string", dict: "map[string]interface {}", list: "[]interface {}"}
    return names.get(type(value), "interface {}")


WHOLE = Type()


class Fields(Type):
    """A struct or a map. ``skipped`` are fields that no set shows (what every object says of itself)."""

    def __init__(
        self,
        fields: Callable[[], Mapping[str, Type]],
        other: Type | None,
        skipped: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__("object")
        self._fields = fields
        self.rest = other
        self.skipped = skipped

    @cached_property
    def known(self) -> Mapping[str, Type]:
        """All fields of a struct by name."""
        return self._fields()

    @cached_property
    def table(self) -> dict[str, tuple[str, Type]]:
        """A field's path element and type, by its name."""
        skipped = self.skipped
        return {name: (f"f:{name}", kind) for name, kind in self.known.items() if name not in skipped}

    def _entry(self, name: str) -> tuple[str, Type] | None:
        found = self.table.get(name)
        if found is None and self.rest is not None and name not in self.skipped:
            return f"f:{name}", self.rest
        return found

    def skipping(self, names: frozenset[str]) -> "Fields":
        """The same type without some fields."""
        return Fields(lambda: self.known, self.rest, names)

    def added(self, value: Any) -> Set:
        if not value:
            return LEAF
        return {".": LEAF, **self._all(value)}

    def _all(self, value: Mapping[str, Any]) -> dict[str, Set]:
        found: dict[str, Set] = {}
        table = self.table
        for name, each in value.items():
            entry = table.get(name) or self._entry(name)
            if entry is not None:
                kind = entry[1]
                found[entry[0]] = LEAF if kind.__class__ is Type else kind.added(each)
        return found

    def owned(self, value: Any) -> Set | None:
        found: dict[str, Set] = {}
        for name, each in (value or {}).items():
            entry = self._entry(name)
            if entry is None:
                continue
            below = entry[1].owned(each)
            if each is None or (each.__class__ is dict and not each):
                below = LEAF
            elif name not in self.table:
                below = {**ITSELF, **below} if below else LEAF
            if below is not None:
                found[entry[0]] = below
        return found or None

    def diff(self, old: Any, new: Any) -> Diff:
        if not old and not new:
            return (None, None) if old == new else (LEAF, None)
        changed: dict[str, Set] = {}
        gone: dict[str, Set] = {}
        self._diff(old or LEAF, new or LEAF, changed, gone)
        return changed or None, gone or None

    def _diff(
        self, old: Mapping[str, Any], new: Mapping[str, Any], changed: dict[str, Set], gone: dict[str, Set]
    ) -> None:
        for name, value in new.items():
            was = old.get(name, _ABSENT)
            entry = None if was == value else self._entry(name)
            if entry is None:
                continue
            element, kind = entry
            if was is _ABSENT:
                changed[element] = kind.added(value)
                continue
            more, less = kind.diff(was, value)
            if more is not None:
                changed[element] = more
            if less is not None:
                gone[element] = less
        for name, was in old.items():
            entry = None if name in new else self._entry(name)
            if entry is not None:
                gone[entry[0]] = entry[1].added(was)

    def merged(self, old: Any, new: Any) -> Any:
        if not old:
            return new
        if not new:
            return old
        found = dict(old)
        for name, value in new.items():
            entry = self._entry(name)
            kind = entry[1] if entry is not None else WHOLE
            found[name] = kind.merged(old[name], value) if name in old else value
        return found

    def removed(self, value: Any, fields: Set) -> Any:
        if not value or value.__class__ is not dict:
            return None
        found = {}
        for name, each in value.items():
            below = fields.get(f"f:{name}")
            if below is None:
                found[name] = each
            elif not sets.member(below):
                entry = self._entry(name)
                found[name] = (entry[1] if entry else WHOLE).removed(each, below)
        return found or None

    def below(self, element: str) -> Type | None:
        entry = self._entry(element[2:]) if element.startswith("f:") else None
        return entry[1] if entry is not None else None

    def declared(self, element: str) -> bool:
        return element[2:] in self.table

    def wrong(self, value: Any, path: str) -> Iterator[str]:
        if value is None:
            return
        if value.__class__ is not dict:
            yield from super().wrong(value, path)
            return
        for name, each in value.items():
            kind = self.known.get(name) or self.rest
            if kind is None:
                yield f"{path}.{name}: field not declared in schema"
            else:
                yield from kind.wrong(each, f"{path}.{name}")


class Free(Type):
    """A value of any form: maps field by field, all else whole."""

    @cached_property
    def _map(self) -> Fields:
        return Fields(dict, self)

    def added(self, value: Any) -> Set:
        return self._map.added(value) if value.__class__ is dict else LEAF

    def owned(self, value: Any) -> Set | None:
        return self._map.owned(value) if value.__class__ is dict else LEAF

    def diff(self, old: Any, new: Any) -> Diff:
        if old.__class__ is dict and new.__class__ is dict:
            return self._map.diff(old, new)
        if old == new and old.__class__ is new.__class__:
            return None, None
        return self.added(new), (self.added(old) if old.__class__ is dict else None)

    def merged(self, old: Any, new: Any) -> Any:
        both = old.__class__ is dict and new.__class__ is dict
        return self._map.merged(old, new) if both else new

    def removed(self, value: Any, fields: Set) -> Any:
        return self._map.removed(value, fields) if value.__class__ is dict else value

    def below(self, element: str) -> Type | None:
        return self if element.startswith("f:") else None
