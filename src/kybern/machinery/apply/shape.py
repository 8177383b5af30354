"""How the fields of one kind are seen by a write through one of its paths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kybern.machinery.apply.sets import LEAF, Set
from kybern.machinery.apply.types import Diff, Fields

TYPE_META = frozenset({"apiVersion", "kind"})
OBJECT_META = frozenset(
    {
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    }
)  # fmt: skip
"""What nobody manages: it tells which object it is, or is the server's own."""

type Pattern = Mapping[str, "Pattern | None"]
"""Path elements that count; ``*`` is any element, None everything below."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Fields that a path does not write: whole ones, fields of metadata, or all but those of a pattern."""

    top: frozenset[str] = frozenset()
    metadata: frozenset[str] = frozenset()
    only: Pattern | None = None


class Shape:
    """``root`` is the whole type; ``diff`` and ``owned`` leave out what nobody manages and what the path does not write.

    ``other`` gives the shape of another version and the way an object becomes one, None for a version that is not known.
    """

    def __init__(
        self, version: str, root: Fields, reset: Reset, other: "Callable[[str], Other | None]"
    ) -> None:
        self.version = version
        self.root = root
        self.other = other
        self._only = reset.only
        metadata = root.below("f:metadata")
        fields = {name: kind for name, (_, kind) in root.table.items()}
        if isinstance(metadata, Fields):
            fields["metadata"] = metadata.skipping(OBJECT_META | reset.metadata)
        self._view = Fields(lambda: fields, root.rest, TYPE_META | reset.top)

    def diff(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Diff:
        changed, gone = self._view.diff(old, new)
        return self._kept(changed), self._kept(gone)

    def owned(self, value: Mapping[str, Any]) -> Set:
        return self._kept(self._view.owned(value)) or LEAF

    def _kept(self, fields: Set | None) -> Set | None:
        if fields is None or self._only is None:
            return fields
        return _matching(fields, self._only) or None


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
