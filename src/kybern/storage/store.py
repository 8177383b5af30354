"""The Store protocol: what the API server asks of the place where objects are kept.

Two things stand behind it: etcd (``etcd.py``) and its twin in memory (``memory.py``); the same tests run on both. Values
are JSON bytes without ``metadata.resourceVersion``: the revision of a key is its version, and is spliced in on reading.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol


class Stored(NamedTuple):
    """One key as it is kept. ``revision`` is etcd's mod_revision, ``created`` its create_revision.

    ``stale``: its bytes in the store are not what would be written now (another key sealed them), though the value is.
    """

    key: str
    value: bytes
    revision: int
    created: int
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a range, in key order. ``revision`` is the store's at the time of reading; ``remaining`` how many follow."""

    items: tuple[Stored, ...]
    revision: int
    more: bool
    remaining: int


class EventType(StrEnum):
    PUT = "PUT"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one key. ``now`` is None for a delete; ``revision`` is that of the change.

    What was there before is not told: the cache, which is the only reader, has it.
    """

    type: EventType
    key: str
    now: Stored | None
    revision: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Nothing of the watched range up to ``revision`` is still to come."""

    revision: int


class RevisionMismatch(Exception):
    """The key is not at the revision that the write asked for. ``current`` is what is there, None when it is absent."""

    def __init__(self, key: str, current: Stored | None) -> None:
        super().__init__(key)
        self.key = key
        self.current = current


class Compacted(Exception):
    """The revision asked for is gone. ``oldest`` is the first that can still be read."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"compacted up to {oldest}")
        self.oldest = oldest


class Unavailable(Exception):
    """The store did not answer in time, or has no leader. Nothing is known about the write that failed."""


class Full(Unavailable):
    """The store takes no more writes until space is made: nothing was written. Reads and deletions work on."""


class Store(Protocol):
    """Every method raises Unavailable when the store cannot answer within its time-out."""

    async def get(self, key: str, revision: int = 0) -> tuple[Stored | None, int]:
        """The key (at a revision, 0 for now) and the store's revision. Linearizable."""
        ...

    async def range(self, prefix: str, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Keys below prefix from start on ("" for all), at a revision (0 for now). Raises Compacted."""
        ...

    async def put(self, key: str, value: bytes, expected: int, ttl: int = 0) -> Stored:
        """Write when the key is at revision ``expected`` (0: absent). ttl in seconds. Raises RevisionMismatch."""
        ...

    async def delete(self, key: str, expected: int) -> int:
        """Remove when the key is at revision ``expected``; gives the revision of the removal. Raises RevisionMismatch."""
        ...

    async def revision(self) -> int:
        """The store's revision now, linearizable: a cache that has seen it may answer a consistent read."""
        ...

    def watch(self, prefix: str, revision: int) -> AsyncIterator[Event | Progress]:
        """Changes below prefix after ``revision``, with progress in between. Raises Compacted, Unavailable."""
        ...

    def request_progress(self, prefix: str) -> None:
        """Have the running watch of exactly this prefix yield Progress as soon as it has caught up."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget history before a revision."""
        ...
