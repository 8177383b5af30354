"""Reads of objects from inside the server: for admission, authentication and authorization.

All go to the same watch caches that clients' lists come from; ``get_live`` goes to the store.
"""

import logging
from collections.abc import Callable, Mapping

from kybern.apiserver.route import Table
from kybern.machinery.kind import Kind, Raw
from kybern.storage.cache import Cache, Change
from kybern.storage.caches import Caches
from kybern.storage.store import Store
from kybern.storage.translated import translated
from kybern.storage.value import Form

log = logging.getLogger(__name__)

type Changed = Callable[[bytes | None, bytes | None], None]


class CacheLookup:
    """See ``admission.framework.Lookup``."""

    def __init__(self, store: Store, caches: Caches, table: Table) -> None:
        self._store = store
        self._caches = caches
        self._table = table

    def _kind(self, group: str, plural: str) -> Kind:
        kind = self._table.kind(group, plural)
        if kind is None:
            raise LookupError(f"no kind {plural} in group {group!r}")
        return self._table.stored(kind)

    async def _cache(self, kind: Kind) -> Cache:
        cache = self._caches.of(kind)
        if not cache.filled.is_set():
            await cache.reached(0)
        return cache

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        kind = self._kind(group, plural)
        cache = await self._cache(kind)
        entry = cache.get(kind.key(namespace, name))
        return cache.form.raw_item(entry.item) if entry else None

    async def labels(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, str] | None:
        kind = self._kind(group, plural)
        cache = await self._cache(kind)
        entry = cache.get(kind.key(namespace, name))
        return entry.labels if entry else None

    async def get_live(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        kind = self._kind(group, plural)
        stored, _ = await self._store.get(kind.key(namespace, name))
        if stored is None:
            return None
        (stored,) = await translated(kind, [stored])
        return Form(kind).raw(stored.value, stored.revision)

    async def labelled(self, group: str, plural: str, namespace: str, label: tuple[str, str]) -> list[Raw]:
        """Those of a namespace that bear a label; the others are not decoded."""
        kind, (key, value) = self._kind(group, plural), label
        cache = await self._cache(kind)
        entries = cache.entries(kind.prefix(namespace))
        return [cache.form.raw_item(entry.item) for entry in entries if entry.labels.get(key) == value]

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Raw]:
        kind = self._kind(group, plural)
        cache = await self._cache(kind)
        return [cache.form.raw_item(entry.item) for entry in cache.entries(kind.prefix(namespace))]


class _Follower:
    """Passes changes of a cache on; after a gap tells what is there now again."""

    def __init__(self, cache: Cache, changed: Changed) -> None:
        self._cache = cache
        self._changed = changed
        self._known: dict[str, bytes] = {}

    def start(self) -> None:
        self._cache.subscribe(self, self._cache.revision)
        known, self._known = self._known, {}
        for entry in self._cache.entries(self._cache.prefix):
            body = self._cache.form.full(entry.item)
            self._tell(known.pop(entry.key, None), body)
            self._known[entry.key] = body
        for gone in known.values():
            self._tell(gone, None)

    def offer(self, change: Change) -> None:
        form = self._cache.form
        entry = change.now or change.before
        assert entry is not None
        new = form.full(change.now.item) if change.now else None
        old = self._known.pop(entry.key, None)
        if new is not None:
            self._known[entry.key] = new
        self._tell(old, new)

    def _tell(self, old: bytes | None, new: bytes | None) -> None:
        """One object that makes no sense must not stop the others, nor the server."""
        try:
            self._changed(old, new)
        except Exception:
            log.exception("Cannot take over a change of %s", self._cache.prefix)

    def end(self) -> None:
        """The cache lists anew: ``Informers.follow`` starts this again when it has."""


class Informers:
    """Changes of stored objects for the authorizers; see ``authorization.Informers``."""

    def __init__(self, caches: Caches, table: Table) -> None:
        self._caches = caches
        self._table = table
        self._pending: list[tuple[Cache, Changed]] = []

    def subscribe(self, group: str, plural: str, changed: Changed) -> None:
        kind = self._table.kind(group, plural)
        if kind is None:
            raise LookupError(f"no kind {plural} in group {group!r}")
        self._pending.append((self._caches.of(self._table.stored(kind)), changed))

    async def follow(self) -> None:
        """Start everything that subscribed, once the caches are filled."""
        pending, self._pending = self._pending, []
        for cache, changed in pending:
            await cache.filled.wait()
            cache.follow(_Follower(cache, changed).start)
