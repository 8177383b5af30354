"""The caches of all kinds: one for each that somebody reads, started when it is first asked for."""

import asyncio

from kybern.machinery.kind import Kind
from kybern.storage.cache import Cache
from kybern.storage.interruptions import Interruptions
from kybern.storage.messages import Messages
from kybern.storage.store import Store, Unavailable


class Caches:
    """The caches of all kinds, each started when it is first asked for."""

    def __init__(self, store: Store, tasks: asyncio.TaskGroup) -> None:
        self._store = store
        self._tasks = tasks
        self._messages = Messages()
        self._interruptions = Interruptions()
        self._caches: dict[str, Cache] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._asking = asyncio.Lock()
        self._next: asyncio.Future[int] | None = None

    def of(self, kind: Kind) -> Cache:
        """The cache of a stored kind; it may not be filled yet."""
        key = _place(kind)
        found = self._caches.get(key)
        if found is None:
            found = self._caches[key] = Cache(self._store, kind, self._messages, self._interruptions)
            self._running[key] = self._tasks.create_task(found.run(), name=f"cache of {key}")
        return found

    def drop(self, kind: Kind) -> None:
        """Let a cache go, because its kind is no more what it was; its watchers are ended."""
        for key in (kind.storage, _translated_key(kind)):
            found = self._caches.pop(key, None)
            if found is not None:
                self._running.pop(key).cancel()
                found.close()

    def known(self, kind: Kind) -> Cache | None:
        """The cache of a stored kind, if anybody has asked for it."""
        return self._caches.get(_place(kind))

    def running(self) -> tuple[Cache, ...]:
        return tuple(self._caches.values())

    async def current(self, kind: Kind) -> Cache:
        """The cache, once it shows what the store has now."""
        cache = self.of(kind)
        await cache.reached(await self._revision())
        return cache

    async def _revision(self) -> int:
        """The store's revision, asked no earlier than this call; calls that come together share one question."""
        if self._next is not None:
            return await asyncio.shield(self._next)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._next = future
        try:
            async with self._asking:
                self._next = None
                revision = await self._store.revision()
        except BaseException as problem:
            if self._next is future:
                self._next = None
            future.set_exception(problem if isinstance(problem, Unavailable) else Unavailable("cancelled"))
            future.exception()  # those who wait see it; where no one waits nothing is to be logged
            raise
        future.set_result(revision)
        return revision


def _place(kind: Kind) -> str:
    return kind.storage if kind.translation is None else _translated_key(kind)


def _translated_key(kind: Kind) -> str:
    """Each version has a cache of its own when versions are not converted here."""
    return f"{kind.storage} as {kind.version}"
