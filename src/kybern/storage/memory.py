"""The store in memory: etcd's twin for tests and for simulations of a whole control plane in one process.

Keeps every version of every key until it is compacted, so that reads at a revision and watches from one behave as
etcd's do. ``down`` makes every method raise Unavailable, to show what a cluster does without its store.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from kybern.storage.store import (
    Compacted,
    Event,
    EventType,
    Page,
    Progress,
    RevisionMismatch,
    Stored,
    Unavailable,
)


@dataclass(slots=True, eq=False)
class _Watch:
    prefix: str
    queue: asyncio.Queue[Event | Progress | None] = field(default_factory=asyncio.Queue)


class MemoryStore:
    """See ``store.Store``."""

    def __init__(self) -> None:
        self._revision = 1
        self._compacted = 0
        self._now: dict[str, Stored] = {}
        self._log: list[Event] = []
        # In the order in which they began, so that they always hear in the same order.
        self._watches: dict[_Watch, None] = {}
        self._down = False

    @property
    def down(self) -> bool:
        return self._down

    @down.setter
    def down(self, value: bool) -> None:
        self._down = value
        if value:
            for watch in self._watches:
                watch.queue.put_nowait(None)

    def _check(self) -> None:
        if self._down:
            raise Unavailable("etcdserver: no leader")

    def _at(self, revision: int) -> dict[str, Stored]:
        if not revision or revision == self._revision:
            return self._now
        if revision < self._compacted:
            raise Compacted(self._compacted)
        found: dict[str, Stored] = {}
        for event in self._log:
            if event.revision > revision:
                break
            if event.now is None:
                found.pop(event.key, None)
            else:
                found[event.key] = event.now
        return found

    async def get(self, key: str, revision: int = 0) -> tuple[Stored | None, int]:
        self._check()
        return self._at(revision).get(key), self._revision

    async def range(self, prefix: str, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        self._check()
        at = self._at(revision)
        keys = sorted(key for key in at if key.startswith(prefix) and key >= start)
        shown = keys[:limit] if limit else keys
        left = len(keys) - len(shown)
        return Page(tuple(at[key] for key in shown), revision or self._revision, left > 0, left)

    async def put(self, key: str, value: bytes, expected: int, ttl: int = 0) -> Stored:
        self._check()
        current = self._now.get(key)
        if (current.revision if current else 0) != expected:
            raise RevisionMismatch(key, current)
        self._revision += 1
        stored = Stored(key, value, self._revision, current.created if current else self._revision)
        self._now[key] = stored
        self._tell(Event(EventType.PUT, key, stored, self._revision))
        return stored

    async def delete(self, key: str, expected: int) -> int:
        self._check()
        current = self._now.get(key)
        if current is None or current.revision != expected:
            raise RevisionMismatch(key, current)
        self._revision += 1
        del self._now[key]
        self._tell(Event(EventType.DELETE, key, None, self._revision))
        return self._revision

    def _tell(self, event: Event) -> None:
        self._log.append(event)
        for watch in self._watches:
            if event.key.startswith(watch.prefix):
                watch.queue.put_nowait(event)

    async def revision(self) -> int:
        self._check()
        return self._revision

    async def watch(self, prefix: str, revision: int) -> AsyncIterator[Event | Progress]:
        self._check()
        if revision + 1 < self._compacted:
            raise Compacted(self._compacted)
        watch = _Watch(prefix)
        for event in self._log:
            if event.revision > revision and event.key.startswith(prefix):
                watch.queue.put_nowait(event)
        self._watches[watch] = None
        try:
            while (found := await watch.queue.get()) is not None:
                yield found
            raise Unavailable("etcdserver: no leader")
        finally:
            self._watches.pop(watch, None)

    def request_progress(self, prefix: str) -> None:
        for watch in self._watches:
            if watch.prefix == prefix:
                watch.queue.put_nowait(Progress(self._revision))

    async def compact(self, revision: int) -> None:
        self._check()
        self._compacted = max(self._compacted, revision)
        last: dict[str, Event] = {}
        for event in self._log:
            if event.revision <= revision:
                last[event.key] = event
        kept = {id(event) for event in last.values() if event.now is not None}
        self._log = [event for event in self._log if event.revision > revision or id(event) in kept]
