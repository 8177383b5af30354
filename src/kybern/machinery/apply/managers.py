"""The entries of ``metadata.managedFields``: who manages which fields, since when, and in which version.

An entry is known by manager, operation and subresource, and by the version when it comes from plain writes; who applies
has one entry, whatever version is applied.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from kybern.machinery.apply import sets
from kybern.machinery.apply.sets import Set

APPLY, UPDATE = "Apply", "Update"
ANCIENT = "ancient-changes"
MOST = 10
"""Of managers by plain writes; the oldest are put together when there are more."""


class Who(NamedTuple):
    """Who writes. ``version`` is empty for who applies."""

    manager: str
    operation: str
    version: str = ""
    subresource: str = ""

    def shown(self) -> str:
        """As messages about conflicts name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.version}" if self.operation == UPDATE else text


class Entry(NamedTuple):
    """What somebody manages. ``raw`` is the entry as it was read, as long as it says the same."""

    fields: Set
    version: str
    time: str | None = None
    raw: Mapping[str, Any] | None = None

    def at(self, time: str) -> "Entry":
        return self._replace(time=time, raw=None)

    def having(self, fields: Set) -> "Entry":
        return self if fields is self.fields else self._replace(fields=fields, raw=None)


type Managed = dict[Who, Entry]


def of(entries: Iterable[Mapping[str, Any]], *, sent: bool = False) -> Managed | None:
    """The entries of an object; None when they can't be read. What a client sent is read with more care."""
    found: Managed = {}
    for entry in entries:
        operation, version = entry.get("operation"), entry.get("apiVersion")
        fields = entry.get("fieldsV1") or sets.EMPTY
        if operation not in (APPLY, UPDATE) or not version or entry.get("fieldsType") != "FieldsV1":
            return None
        if sent:
            try:
                fields = sets.read(fields)
            except sets.Unreadable:
                return None
        who = Who(
            entry.get("manager") or "",
            operation,
            version if operation == UPDATE else "",
            entry.get("subresource") or "",
        )
        found[who] = Entry(fields, version, entry.get("time"), None if sent else entry)
    return found


def reset(entries: Any) -> bool:
    """Whether a client asks for no entries at all: by an empty list, or one empty entry."""
    return isinstance(entries, list) and entries in ([], [{}])


def listed(managed: Managed) -> list[Mapping[str, Any]]:
    """The entries as an object has them: appliers first, then the older ones."""
    if len(managed) == 1:
        return [_raw(who, entry) for who, entry in managed.items()]
    ordered = sorted(managed.items(), key=_order)
    return [_raw(who, entry) for who, entry in ordered]


def _order(item: tuple[Who, Entry]) -> tuple[str, ...]:
    who, entry = item
    return who.operation, entry.time or "", who.manager, entry.version, who.subresource


def _raw(who: Who, entry: Entry) -> Mapping[str, Any]:
    if entry.raw is not None:
        return entry.raw
    found: dict[str, Any] = {
        "manager": who.manager,
        "operation": who.operation,
        "apiVersion": entry.version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.fields,
        "subresource": who.subresource,
    }
    return {key: value for key, value in found.items() if value or key == "fieldsV1"}


def capped(managed: Managed) -> Managed:
    """At most so many by plain writes: the oldest of each version become one."""
    plain = [who for who in managed if who.operation == UPDATE]
    if len(plain) <= MOST:
        return managed
    plain.sort(key=lambda who: (managed[who].time or "", who.manager, who.version, who.subresource))
    left = len(plain)
    first: dict[str, Who] = {}
    for who in plain:
        if left <= MOST:
            break
        entry = managed[who]
        if entry.version not in first:
            first[entry.version] = who
            continue
        bucket = Who(ANCIENT, UPDATE, entry.version)
        if bucket not in managed:
            managed[bucket] = managed.pop(first[entry.version])
        both = sets.union(entry.fields, managed[bucket].fields)
        if who != bucket:
            del managed[who]
        managed[bucket] = Entry(both, entry.version, entry.time)
        left -= 1
    return managed


def same_but_times(one: Iterable[Mapping[str, Any]], other: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two lists of entries differ in times at most."""
    return [_timeless(entry) for entry in one] == [_timeless(entry) for entry in other]


def _timeless(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in entry.items() if key != "time"}


@lru_cache(maxsize=1024)
def named(manager: str, agent: str) -> str:
    """The name of who writes: as asked for, else what the client calls itself."""
    if manager:
        return manager
    found = ""
    size = 0
    for sign in agent.partition("/")[0]:
        if not sign.isprintable():
            continue
        size += len(sign.encode(errors="surrogatepass"))
        if size > 128:
            break
        found += sign
    return found or "unknown"
