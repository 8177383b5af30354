"""The watch cache: all objects of one kind as encoded bytes, fed by one watch of the store.

What holds: ``revision`` is one that the cache has seen everything of; entries are what the store had then. Lists come
from here without decoding anything, since selection needs only the few facts kept beside the bytes. A reader who needs
the present asks the store for its revision and waits until the cache has reached it.

Changes are kept for a while, so that a watcher may start from a revision of the near past; one from before that is told
that its revision has expired. Watchers are offered each change in the same step in which it is applied, and must not
wait: what they cannot take at once they buffer, or give up.

When the store cannot be reached the cache keeps what it has, and resumes where it was. When its revision was compacted
meanwhile it lists anew, and its watchers are ended, since they missed something.
"""

import asyncio
import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Protocol

import msgspec

from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Kind
from kybern.storage.entry import Change, Entry
from kybern.storage.interruptions import Interruptions
from kybern.storage.labels import Labels
from kybern.storage.messages import Messages
from kybern.storage.store import Compacted, Event, Progress, Store, Stored, Unavailable
from kybern.storage.translated import translated
from kybern.storage.value import Form, Unreadable

log = logging.getLogger(__name__)

__all__ = ["Cache", "Change", "Entry", "Expired", "Stale", "Watcher"]

HISTORY = 4096
# Changes whose frames are kept: for watchers that are a moment behind. They are as large as the objects.
FRAMED = 64
PAGE = 2000
_BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0)
_PROGRESS_EVERY = 0.1
PATIENCE = 3.0


_key = attrgetter("key")


class Watcher(Protocol):
    def offer(self, change: Change) -> None:
        """Take a change; must not wait."""
        ...

    def end(self) -> None:
        """Something was missed: the watcher's client must list again."""
        ...


class Expired(Exception):
    """Changes since this revision are no longer known; ``oldest`` is the first that a watch can start from."""

    def __init__(self, oldest: int) -> None:
        super().__init__(oldest)
        self.oldest = oldest


class Stale(Exception):
    """The cache did not reach a revision in time."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


class Cache:
    """The objects of one kind. ``run`` must be running for it to fill and follow."""

    def __init__(
        self,
        store: Store,
        kind: Kind,
        messages: Messages | None = None,
        interruptions: Interruptions | None = None,
    ) -> None:
        self.kind = kind
        self.messages = messages or Messages()
        self._interruptions = interruptions or Interruptions()
        self.form = Form(kind)
        self.prefix = kind.prefix()
        self.revision = 0
        self._store = store
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._ordered: list[Entry] = []
        self._labels = Labels()
        self._history: deque[Change] = deque()
        self._oldest = 0
        # In the order in which they came: told always in the same order, and who waits longest first.
        self._watchers: dict[Watcher, None] = {}
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._followers: list[Callable[[], None]] = []
        self.filled = asyncio.Event()
        self._failed: ApiError | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def entries(self, prefix: str, after: str = "") -> list[Entry]:
        """Those below a prefix, in key order, from a key on."""
        if prefix == self.prefix and not after:
            return self._ordered.copy()
        start = bisect_left(self._keys, max(after, prefix))
        end = bisect_left(self._keys, prefix[:-1] + chr(ord(prefix[-1]) + 1))
        return self._ordered[start:end]

    def labelled(self, prefix: str, label: str, value: str) -> list[Entry]:
        """Those below a prefix whose label has a value, in key order."""
        found = self._labels.having(label, value, self._ordered)
        return sorted([entry for entry in found if entry.key.startswith(prefix)], key=_key)

    def message(self, entry: Entry) -> bytes:
        """An entry as a protobuf message."""
        return entry.message or self.messages.of(self.form, entry, keep=self._entries.get(entry.key) is entry)

    def subscribe(self, watcher: Watcher, since: int) -> list[Change]:
        """Offer the watcher all changes from now on; gives those after ``since``. Raises Expired."""
        if since < self._oldest:
            raise Expired(self._oldest)
        self._watchers[watcher] = None
        return [change for change in self._history if change.revision > since]

    def unsubscribe(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)

    def follow(self, start: Callable[[], None]) -> None:
        """Call ``start`` now, and again whenever the cache had to list anew: it subscribes a watcher of its own."""
        self._followers.append(start)
        start()

    def request_progress(self) -> None:
        self._store.request_progress(self.prefix)

    async def reached(self, revision: int, seconds: float | None = None) -> None:
        """Return when the cache has seen everything up to a revision. Raises Stale after ``seconds`` (or PATIENCE)."""
        if self.revision >= revision and self.filled.is_set():
            return
        if self._failed is not None:
            raise self._failed
        try:
            async with asyncio.timeout(PATIENCE if seconds is None else seconds):
                await self.filled.wait()
                while self.revision < revision:
                    await self._progressed(revision)
        except TimeoutError:
            raise self._failed or Stale(self.revision) from None

    async def _progressed(self, revision: int) -> None:
        self._store.request_progress(self.prefix)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = revision
        try:
            await asyncio.wait((waiter,), timeout=_PROGRESS_EVERY)
        finally:
            del self._waiting[waiter]

    async def run(self) -> None:
        """Fill the cache and keep up with the store, for ever."""
        failures = 0
        while True:
            try:
                if not self.filled.is_set():
                    await self._fill()
                async for event in self._store.watch(self.prefix, self.revision):
                    failures = 0
                    if isinstance(event, Progress):
                        self._seen(event.revision)
                        continue
                    self.apply(event if self.kind.translation is None else await self._as_kind(event))
            except Compacted:
                self._restart()
            except (Unavailable, ApiError) as problem:
                if failures == 0:
                    self._interruptions.add(self.prefix, str(problem))
                # An ApiError: objects are of another version, and who converts them cannot be asked.
                self._failed = problem if isinstance(problem, ApiError) else None
                await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                failures += 1

    async def _as_kind(self, event: Event) -> Event:
        if event.now is None:
            return event
        (now,) = await translated(self.kind, [event.now])
        self._failed = None
        return replace(event, now=now)

    async def _fill(self) -> None:
        page = await self._store.range(self.prefix, limit=PAGE)
        revision = page.revision
        found: list[Stored] = list(page.items)
        while page.more:
            page = await self._store.range(self.prefix, found[-1].key + "\0", PAGE, revision)
            found.extend(page.items)
        found = list(await translated(self.kind, found))
        self._failed = None
        self.messages.forget(self._entries.values())
        entries = [entry for stored in found if (entry := self._entry(stored))]
        self._entries = {entry.key: entry for entry in entries}
        self._keys = sorted(self._entries)
        self._ordered = [self._entries[key] for key in self._keys]
        self._labels.clear()
        self._history.clear()
        self._oldest = revision
        self.filled.set()
        self._seen(revision)
        for start in self._followers:
            start()

    def _restart(self) -> None:
        log.info("Listing %s again: the store has forgotten revision %d", self.prefix, self.revision)
        self.filled.clear()
        self.end()

    def end(self) -> None:
        """End all watchers."""
        for watcher in tuple(self._watchers):
            watcher.end()
        self._watchers.clear()

    def close(self) -> None:
        """Nobody will ask this cache any more."""
        self.end()
        self.messages.forget(self._entries.values())

    def _entry(self, stored: Stored) -> Entry | None:
        """The entry of a value; None, and a complaint, for what cannot be read: the others are served all the same."""
        try:
            item = self.form.item(stored.value, stored.revision)
            return Entry(stored.key, stored.revision, item, self.form)
        except (Unreadable, msgspec.DecodeError) as problem:
            log.warning("Passing over %s: %s", stored.key, problem)
            return None

    def apply(self, event: Event) -> None:
        """Take over one change and offer it to the watchers."""
        before = self._entries.get(event.key)
        now = self._entry(event.now) if event.now is not None else None
        unreadable = now is None and event.now is not None
        if unreadable or (now is None and before is None):
            # What cannot be read (by this server, which may lack its key) is not gone: nobody is told that it is.
            self._seen(event.revision)
            return
        self._put(event.key, now, new=before is None)
        self._labels.change(before, now)
        self._record(Change(event.revision, now, before))

    def _put(self, key: str, now: Entry | None, *, new: bool) -> None:
        """Have an entry at its place, or none."""
        at = bisect_left(self._keys, key)
        if now is None:
            del self._entries[key], self._keys[at], self._ordered[at]
            return
        self._entries[key] = now
        if new:
            self._keys.insert(at, key)
            self._ordered.insert(at, now)
        else:
            self._ordered[at] = now

    def _record(self, change: Change) -> None:
        if change.before is not None and change.before.message is not None:
            self.messages.forget((change.before,))
        self._history.append(change)
        if len(self._history) > HISTORY:
            self._oldest = self._history.popleft().revision
        if len(self._history) > FRAMED:
            self._history[-FRAMED - 1].frames.clear()
        for watcher in tuple(self._watchers):
            watcher.offer(change)
        self._seen(change.revision)

    def _seen(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        for waiter, wanted in self._waiting.items():
            if wanted <= self.revision and not waiter.done():
                waiter.set_result(None)
