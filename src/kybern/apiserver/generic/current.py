"""The object that a write starts from, and putting the new one in its place."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from kybern.apiserver import problems
from kybern.apiserver.engine import Call
from kybern.machinery.kind import Raw
from kybern.storage.store import RevisionMismatch, Stored
from kybern.storage.translated import to_store, translated
from kybern.storage.value import Form, encoded

# Seconds for which a write that depends on no version is tried again; a client's own patience is no longer.
_PATIENCE = 30.0


@dataclass(slots=True)
class Current:
    """An object as it is in the store (or was, a moment ago, when ``cached``), in the version of the call."""

    raw: Raw
    revision: int
    cached: bool = False

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"].get("uid", ""))


def tries() -> Iterator[bool]:
    """One value for each try of a write, and whether that must start from the store.

    Each collision is the success of somebody else's write, so that only time bounds them, no number.
    """
    yield False
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        yield True


def understood(call: Call, stored: Stored) -> Raw:
    """The stored bytes as an object of the call's version."""
    raw = call.engine.form(call.stored).raw(stored.value, stored.revision)
    conversion = call.kind.conversion
    return conversion.from_stored(raw) if conversion else raw


async def read(call: Call, *, fresh: bool = True) -> Current:
    """The object of the call; from the cache when that suffices. Raises NotFound."""
    if not fresh:
        cache = call.engine.cache(call.kind)
        entry = cache.get(call.key) if cache.filled.is_set() else None
        if entry is not None:
            raw = cache.form.raw_item(entry.item)
            conversion = call.kind.conversion
            return Current(conversion.from_stored(raw) if conversion else raw, entry.revision, cached=True)
    stored = await fetched(call)
    return Current(understood(call, stored), stored.revision)


async def fetched(call: Call) -> Stored:
    """The object from the store. Raises NotFound."""
    stored, _ = await call.engine.store.get(call.key)
    if stored is None:
        raise problems.not_found(call.kind, call.name)
    if call.kind.translation is not None:
        (stored,) = await translated(call.kind, [stored])
    return stored


def value_of(call: Call, raw: Raw) -> bytes:
    """The bytes to store."""
    conversion = call.kind.conversion
    return call.engine.form(call.stored).value(conversion.to_stored(raw) if conversion else raw)


def served(call: Call, value: bytes, revision: int) -> bytes:
    """Stored bytes as the client reads them."""
    if call.kind.conversion is None:
        return call.engine.form(call.kind).served(value, revision)
    return whole(call.engine.form(call.kind), understood(call, Stored(call.key, value, revision, 0)))


def whole(form: Form, raw: Raw) -> bytes:
    """An object as full JSON, with what metadata says of its version."""
    return encoded({"apiVersion": form.api_version, "kind": form.kind, **raw})


async def write(call: Call, value: bytes, expected: int) -> int:
    """Store under the call's key; gives the revision. Raises RevisionMismatch."""
    if call.kind.translation is not None:
        value = await to_store(call.kind, value)
    ttl = call.engine.event_ttl if call.kind.storage == "events" else 0
    stored = await call.engine.store.put(call.key, value, expected, ttl)
    return stored.revision


__all__ = [
    "Current",
    "RevisionMismatch",
    "fetched",
    "read",
    "served",
    "understood",
    "value_of",
    "whole",
    "write",
]
