"""Applying: what becomes of an object when somebody says which fields it shall have.

What is applied is put on top of the object. What the same manager applied before and does not any more is taken away,
unless somebody else manages it. Changing what others manage is a conflict, unless forced.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kybern.machinery.apply import sets
from kybern.machinery.apply.managers import Entry, Managed, Who
from kybern.machinery.apply.sets import Set
from kybern.machinery.apply.shape import Shape
from kybern.machinery.apply.shape import managed as managed_fields
from kybern.machinery.apply.types import WHOLE, Type
from kybern.machinery.apply.update import diffs, lessened
from kybern.machinery.errors import ApiError, Cause, Details

type Raw = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
"""Whose client-side applies are carried over."""
_ANNOTATIONS_LIMIT = 256 * 1024


class ApplyConflict(ApiError):
    """Others manage what would change. ``fields`` says who and what."""

    code, reason = 409, "Conflict"

    def __init__(self, fields: dict[Who, Set]) -> None:
        self.fields = fields
        found = [(who, path) for who in sorted(fields, key=_known) for path in sets.paths(fields[who])]
        causes = [Cause(path, "FieldManagerConflict", f"conflict with {who.shown()}") for who, path in found]
        lines = []
        for who in sorted(fields, key=_known):
            lines.append(f"conflicts with {who.shown()}:")
            lines.extend(f"- {path}" for path in sets.paths(fields[who]))
        text = "\n".join(lines) if len(found) > 1 else f"{causes[0].message}: {causes[0].field}"
        many = "s" if len(found) > 1 else ""
        message = f"Apply failed with {len(found)} conflict{many}: {text}"
        super().__init__(message, Details(causes=tuple(causes)))


def _known(who: Who) -> tuple[str, ...]:
    return who.manager, who.operation, who.version, who.subresource


@dataclass(frozen=True, slots=True)
class Applied:
    """``new`` is None when the object stays as it is."""

    new: Raw | None
    managed: Managed


def applied(live: Raw, config: Raw, managed: Managed, shape: Shape, who: Who, *, force: bool) -> Applied:
    """Raises ApplyConflict."""
    last = managed.get(who)
    time = last.time if last is not None else None
    found = {**managed, who: Entry(shape.owned(config), shape.version, time)}
    new = shape.root.merged(live, config)
    if last is not None and sets.difference(last.fields, found[who].fields):
        new = _pruned(new, found, shape, last)
    by = diffs(live, new, found, shape, shape.diff(live, new))
    conflicts = {
        other: shared
        for other, entry in found.items()
        if other != who and (shared := _shared(entry.fields, by[entry.version]))
    }
    if conflicts and not force:
        raise ApplyConflict(conflicts)
    left = lessened(found, by, who)
    mine = left[who].having(managed_fields(left[who].fields)) if who in left else None
    if mine is not None and mine.fields:
        left[who] = mine
    else:
        left.pop(who, None)
    return Applied(None if new == live else new, left)


def _shared(fields: Set, diff: tuple[Set | None, Set | None] | None) -> Set:
    return sets.intersection(fields, diff[0]) if diff is not None and diff[0] is not None else sets.EMPTY


def carried(live: Raw, config: Raw, managed: Managed, shape: Shape, who: Who, *, force: bool) -> Applied:
    """Like ``applied``; conflicts over what kubectl applied on the client's side before are none for kubectl."""
    try:
        return applied(live, config, managed, shape, who, force=force)
    except ApplyConflict as conflict:
        mine = _applied_before(live, shape) if who.manager == KUBECTL else None
        if mine is None:
            raise
        left = {other: sets.difference(fields, mine) for other, fields in conflict.fields.items()}
        left = {other: fields for other, fields in left.items() if fields}
        if left:
            raise ApplyConflict(left) from conflict
    return applied(live, config, managed, shape, who, force=True)


def _applied_before(live: Raw, shape: Shape) -> Set | None:
    """The fields that the annotation of client-side apply names, as far as the object still has them so."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return None
    try:
        before = json.loads(text)
    except ValueError:
        return None
    if not isinstance(before, dict) or before.get("apiVersion") != shape.version:
        return None
    if next(shape.root.wrong(before, ""), None) is not None:
        return None
    fields: Set = shape.root.owned(before) or sets.EMPTY
    for part in shape.root.diff(before, live):
        fields = sets.difference(fields, part or sets.EMPTY)
    return fields


def with_last_applied(new: Raw, config: Raw) -> Raw:
    """The object with kubectl's annotation brought up to what was applied, where it has that annotation."""
    metadata = new["metadata"]
    annotations = metadata.get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return new
    said = config["metadata"].get("annotations")
    if said:
        kept = {key: value for key, value in said.items() if key != LAST_APPLIED}
        config = {**config, "metadata": {**config["metadata"], "annotations": kept}}
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    found = {**annotations, LAST_APPLIED: text}
    if sum(len(key.encode()) + len(value.encode()) for key, value in found.items()) > _ANNOTATIONS_LIMIT:
        del found[LAST_APPLIED]
    return {**new, "metadata": {**metadata, "annotations": found}}


def _pruned(merged: Raw, managed: Managed, shape: Shape, last: Entry) -> Raw:
    """The object without what was applied last time and is managed by nobody now."""
    there = _way(shape, last.version)
    if there is None:
        return merged
    at, forth = there
    whole = forth(merged)
    root = at.root
    everything = _all_of(whole, root)
    before = named(last.fields, root)
    pruned = root.removed(whole, before) or {}
    for version in sorted({entry.version for entry in managed.values()}, key=lambda one: one != at.version):
        fields = sets.EMPTY
        for entry in managed.values():
            if entry.version == version:
                fields = sets.union(fields, entry.fields)
        pruned = _owned_back(whole, pruned, at, version, fields)
    gone = sets.difference(everything, _all_of(pruned, root))
    found: Raw = root.removed(whole, sets.intersection(gone, before)) or {}
    back = _way(at, shape.version)
    return back[1](found) if back is not None else merged


def _way(shape: Shape, version: str) -> tuple[Shape, Callable[[Raw], Raw]] | None:
    """The shape of a version, and how objects become of it."""
    return (shape, lambda raw: raw) if version == shape.version else shape.other(version)


def _owned_back(whole: Raw, pruned: Raw, at: Shape, version: str, fields: Set) -> Raw:
    """The pruned object with what somebody manages in one version put back."""
    there = _way(at, version)
    back = _way(there[0], at.version) if there is not None else None
    if there is None or back is None:
        return pruned
    root = there[0].root
    full = there[1](whole)
    kept = sets.union(_all_of(there[1](pruned), root), named(fields, root))
    found: Raw = root.removed(full, sets.difference(_all_of(full, root), kept)) or {}
    return back[1](found)


def _all_of(value: Raw, kind: Type) -> Set:
    return named(kind.owned(value) or sets.EMPTY, kind)


def named(fields: Set, kind: Type) -> Set:
    """The set with all fields of structs as members that lead to members."""
    found: dict[str, Any] = {}
    for element, below in fields.items():
        if not below:
            found[element] = below
            continue
        inner = named(below, kind.below(element) or WHOLE)
        found[element] = {".": sets.LEAF, **inner} if kind.declared(element) else inner
    return found
