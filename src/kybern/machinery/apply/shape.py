"""How the fields of one kind are seen by a write through one of its paths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kybern.machinery.apply.sets import LEAF, Set, difference
from kybern.machinery.apply.types import Diff, Fields

TYPE_META = frozenset({"apiVersion", "kind"})
OBJECT_META = frozenset(
    {
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    }
)  # fmt: skip
"""What nobody manages: it tells which object it is, or is the server's own."""

_NOBODYS: Set = {
    **{f"f:{name}": LEAF for name in TYPE_META},
    "f:metadata": {".": LEAF, **{f"f:{name}": LEAF for name in OBJECT_META}},
}

type Pattern = Mapping[str, "Pattern | None"]
"""Path elements that count; ``*`` is any element, None everything below."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Fields that a path does not write: whole ones, fields of metadata, or all but those of a pattern."""

    top: frozenset[str] = frozenset()
    metadata: frozenset[str] = frozenset()
    only: Pattern | None = None


class Shape:
    """``root`` is the whole type. ``diff`` leaves out what nobody manages; it and ``owned`` what the path does not write.

    ``other`` gives the shape of another version and the way an object becomes one, None for a version that is not known.
    """

    def __init__(
        self, version: str, root: Fields, reset: Reset, other: "Callable[[str], Other | None]"
    ) -> None:
        self.version = version
        self.root = root
        self.other = other
        self._only = reset.only
        self._written = _view(root, reset.top, reset.metadata)
        self._view = _view(root, TYPE_META | reset.top, OBJECT_META | reset.metadata)

    def diff(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Diff:
        changed, gone = self._view.diff(old, new)
        return self._kept(changed), self._kept(gone)

    def owned(self, value: Mapping[str, Any]) -> Set:
        """With what nobody manages: that it is there keeps the fields on the way to it."""
        return self._kept(self._written.owned(value)) or LEAF

    def _kept(self, fields: Set | None) -> Set | None:
        if fields is None or self._only is None:
            return fields
        return _matching(fields, self._only) or None


def _view(root: Fields, top: frozenset[str], inner: frozenset[str]) -> Fields:
    """The type without some fields and some of its metadata."""
    fields = {name: kind for name, (_, kind) in root.table.items()}
    metadata = fields.get("metadata")
    if isinstance(metadata, Fields):
        fields["metadata"] = metadata.skipping(inner)
    return Fields(lambda: fields, root.rest, top)


def managed(fields: Set) -> Set:
    """The fields without what nobody manages."""
    return difference(fields, _NOBODYS)


type Other = tuple[Shape, Callable[[dict[str, Any]], dict[str, Any]]]


def _matching(fields: Set, pattern: Pattern) -> Set:
    found: dict[str, Any] = {}
    for key, below in fields.items():
        if key == ".":
            found[key] = below
            continue
        inner = pattern.get(key, pattern.get("*", LEAF))
        if inner is None or not below:
            if inner is None or key in pattern or "*" in pattern:
                found[key] = below
        elif inner:
            kept = _matching(below, inner)
            if kept:
                found[key] = kept
    return found
