"""The object that a write starts from, and putting the new one in its place."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from kybern.apiserver import problems
from kybern.apiserver.engine import Call
from kybern.machinery.kind import Raw
from kybern.storage.store import RevisionMismatch, Stored
from kybern.storage.translated import to_store, translated
from kybern.storage.value import Form, encoded, start_of

# Seconds for which a write that depends on no version is tried again; a client's own patience is no longer.
_PATIENCE = 30.0


@dataclass(slots=True)
class Current:
    """An object as it is in the store (or was, a moment ago, when ``cached``), in the version of the call.

    ``stale``: it is to be written even when nothing changes; of a cached one that is not known.
    """

    raw: Raw
    revision: int
    cached: bool = False
    stale: bool = False

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
    kept = await _kept(call)
    stored = await _translated(call, kept)
    return Current(understood(call, stored), stored.revision, stale=is_stale(call, kept))


async def fetched(call: Call) -> Stored:
    """The object from the store. Raises NotFound."""
    return await _translated(call, await _kept(call))


async def _kept(call: Call) -> Stored:
    stored, _ = await call.engine.store.get(call.key)
    if stored is None:
        raise problems.not_found(call.kind, call.name)
    return stored


async def _translated(call: Call, stored: Stored) -> Stored:
    """In the version of the call's kind, where somebody else converts between versions."""
    if call.kind.translation is None:
        return stored
    (found,) = await translated(call.kind, [stored])
    return found


def is_stale(call: Call, stored: Stored) -> bool:
    """Whether an object lies in the store in another form than it would be written in.

    Of another version, upstream's, or encrypted by another key.
    """
    translation = call.kind.translation
    version = translation.stored if translation is not None else call.stored.api_version
    return stored.stale or not stored.value.startswith(start_of(version, call.kind.kind))


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
    "is_stale",
    "read",
    "served",
    "understood",
    "value_of",
    "whole",
    "write",
]
