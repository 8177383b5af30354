"""What a plain write (create, update, patch) does to the entries of an object.

Who writes comes to manage what is new or different; everybody else loses that, and all lose what is gone.
"""

from typing import Any

from kybern.machinery.apply import managers, sets
from kybern.machinery.apply.managers import Entry, Managed, Who
from kybern.machinery.apply.sets import Set
from kybern.machinery.apply.shape import Shape
from kybern.machinery.apply.types import Diff

type Raw = dict[str, Any]
type Diffs = dict[str, Diff | None]
"""What changed, as each version sees it; None for a version that is no more."""


def updated(live: Raw, new: Raw, managed: Managed, shape: Shape, who: Who, now: str) -> Managed:
    """The entries after ``new`` takes the place of ``live``. An object that nobody manages stays so."""
    if not managed and live.get("metadata", {}).get("uid"):
        return managed
    diff = shape.diff(live, new)
    changed, gone = diff
    if changed is None and gone is None and not _foreign(managed, shape):
        return managed
    found = lessened(managed, diffs(live, new, managed, shape, diff))
    if changed is not None:
        before = found.get(who)
        fields = sets.union(before.fields, changed) if before is not None else changed
        found[who] = Entry(fields, shape.version, now)
    return managers.capped(found)


def _foreign(managed: Managed, shape: Shape) -> bool:
    return any(entry.version != shape.version for entry in managed.values())


def diffs(live: Raw, new: Raw, managed: Managed, shape: Shape, diff: Diff) -> Diffs:
    """The difference as each of the versions in use sees it."""
    found: Diffs = {shape.version: diff}
    for entry in managed.values():
        if entry.version in found:
            continue
        other = shape.other(entry.version)
        found[entry.version] = other[0].diff(other[1](live), other[1](new)) if other is not None else None
    return found


def lessened(managed: Managed, by: Diffs, sparing: Who | None = None) -> Managed:
    """The entries without what changed or went away; entries without fields go."""
    found: Managed = {}
    for who, entry in managed.items():
        diff = by[entry.version]
        if who == sparing:
            kept: Entry | None = entry
        else:
            kept = entry.having(_less(entry.fields, diff)) if diff is not None else None
        if kept is not None and kept.fields:
            found[who] = kept
    return found


def _less(fields: Set, diff: Diff) -> Set:
    for part in diff:
        if part is not None and sets.overlaps(fields, part):
            fields = sets.difference(fields, part)
    return fields
