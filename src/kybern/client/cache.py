"""Objects that watches keep up to date, and what can be asked of them: the ``View`` of a control loop.

What holds: everything in it is frozen and is what the API server said last; one watch per kind feeds any number of
readers; indexes are right at every moment, because they change together with the objects. ``synced`` waits until the
first list of a kind is in, and no reader should decide anything before that.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Change, Deleted, Modified, Synced, watch
from kybern.machinery.struct import Object

type Indexer = Callable[[Any], Iterable[str]]

_NEVER = datetime.fromtimestamp(0, UTC)
OWNER = "owner"
NAMESPACE = "namespace"


def _owner(item: Any) -> Iterable[str]:
    return (reference.uid for reference in item.metadata.owner_references)


def _controls(uid: str, item: Any) -> bool:
    return any(reference.controller and reference.uid == uid for reference in item.metadata.owner_references)


def _namespace(item: Any) -> Iterable[str]:
    return (item.metadata.namespace,)


class _Shelf:
    """The objects of one kind, with its indexes: name of the index, then value, then key."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Any] = {}
        self.indexers: dict[str, Indexer] = {OWNER: _owner, NAMESPACE: _namespace}
        self.indexes: dict[str, dict[str, dict[tuple[str, str], Any]]] = {OWNER: {}, NAMESPACE: {}}
        self.arrived: dict[tuple[str, str], datetime] = {}
        self.synced = asyncio.Event()
        self.revision = 0
        self.waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def add_index(self, name: str, indexer: Indexer) -> None:
        self.indexers[name] = indexer
        self.indexes[name] = {}
        for key, item in self.items.items():
            self._enter(name, key, item)

    def put(self, item: Any, now: datetime) -> None:
        key = (item.metadata.namespace, item.metadata.name)
        self.drop(key)
        self.items[key] = item
        self.arrived[key] = now
        for name in self.indexers:
            self._enter(name, key, item)

    def drop(self, key: tuple[str, str]) -> None:
        old = self.items.pop(key, None)
        if old is None:
            return
        del self.arrived[key]
        for name, indexer in self.indexers.items():
            index = self.indexes[name]
            for value in set(indexer(old)):
                bucket = index.get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del index[value]

    def saw(self, item: Any) -> None:
        """Remember how far the watch has come, and wake who waits for that."""
        version = item.metadata.resource_version
        self.revision = max(self.revision, int(version) if version.isdecimal() else 0)
        if self.waiting:
            for condition, future in self.waiting:
                if not future.done() and condition():
                    future.set_result(None)
            self.waiting = [entry for entry in self.waiting if not entry[1].done()]

    def _enter(self, name: str, key: tuple[str, str], item: Any) -> None:
        index = self.indexes[name]
        for value in self.indexers[name](item):
            index.setdefault(value, {})[key] = item


class Cache:
    """A store of typed objects. ``clock`` gives the time that readers see; tests give their own."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._shelves: dict[type[Object], _Shelf] = {}

    @property
    def now(self) -> datetime:
        return self._clock()

    def add(self, kind: type[Object]) -> None:
        """Make room for a kind; reading one that was never added is a mistake and raises KeyError."""
        self._shelves.setdefault(kind, _Shelf())

    def add_index(self, kind: type[Object], name: str, indexer: Indexer) -> None:
        """Let objects be found by what ``indexer`` gives for them."""
        self.add(kind)
        self._shelves[kind].add_index(name, indexer)

    def kinds(self) -> tuple[type[Object], ...]:
        return tuple(self._shelves)

    def get[T: Object](self, kind: type[T], namespace: str, name: str) -> T | None:
        found: T | None = self._shelves[kind].items.get((namespace, name))
        return found

    def list[T: Object](self, kind: type[T], namespace: str = "") -> Iterator[T]:
        """All objects, or those of a namespace; a copy, so that changes during the iteration do no harm."""
        if namespace:
            return self.index(kind, NAMESPACE, namespace)
        return iter(tuple(self._shelves[kind].items.values()))

    def owned[T: Object](self, kind: type[T], owner: Object) -> Iterator[T]:
        """Those that ``owner`` controls; the index knows all owners, also those that do not control."""
        uid = owner.metadata.uid  # type: ignore[attr-defined]  # every Object has metadata
        return (one for one in self.index(kind, OWNER, uid) if _controls(uid, one))

    def index[T: Object](self, kind: type[T], name: str, value: str) -> Iterator[T]:
        return iter(tuple(self._shelves[kind].indexes[name].get(value, {}).values()))

    def arrived(self, of: Object) -> datetime:
        """When this version of an object came in; the beginning of time for one that is not here."""
        metadata: Any = of.metadata  # type: ignore[attr-defined]  # every Object has metadata
        return self._shelves[type(of)].arrived.get((metadata.namespace, metadata.name), _NEVER)

    def remove(self, kind: type[Object]) -> None:
        """Forget a kind that is not watched any more."""
        self._shelves.pop(kind, None)

    def has_synced(self, kind: type[Object]) -> bool:
        return self._shelves[kind].synced.is_set()

    async def synced(self, *kinds: type[Object]) -> None:
        """Wait until the first lists of these kinds (all, when none is named) are in."""
        for kind in kinds or tuple(self._shelves):
            await self._shelves[kind].synced.wait()

    def apply(self, change: Synced[Any] | Change[Any], kind: type[Object] | None = None) -> None:
        """Take in what a watch says. ``kind`` is needed for an empty Synced only."""
        match change:
            case Synced(items):
                shelf = self._shelves[kind or type(items[0])]
                now = self._clock()
                for item in items:
                    shelf.put(item, now)
                    shelf.saw(item)
                shelf.synced.set()
            case Added(item) | Modified(item, _):
                shelf = self._shelves[type(item)]
                shelf.put(item, self._clock())
                shelf.saw(item)
            case Deleted(item):
                shelf = self._shelves[type(item)]
                shelf.drop((item.metadata.namespace, item.metadata.name))
                shelf.saw(item)

    async def until_written(self, item: Object) -> None:
        """Wait until the cache is at least as new as what a write answered; at once when the kind is not kept."""
        version = item.metadata.resource_version  # type: ignore[attr-defined]  # every Object has metadata
        shelf = self._shelves.get(type(item))
        if shelf is not None and version.isdecimal():
            await self._until(shelf, lambda: shelf.revision >= int(version))

    async def until_deleted(self, item: Object) -> None:
        """Wait until the cache knows that an object is gone or going."""
        shelf = self._shelves.get(type(item))
        if shelf is None:
            return
        metadata: Any = item.metadata  # type: ignore[attr-defined]  # every Object has metadata

        def going() -> bool:
            found = shelf.items.get((metadata.namespace, metadata.name))
            return (
                found is None
                or found.metadata.uid != metadata.uid
                or found.metadata.deletion_timestamp is not None
            )

        await self._until(shelf, going)

    async def _until(self, shelf: _Shelf, condition: Callable[[], bool]) -> None:
        if not condition():
            future = asyncio.get_running_loop().create_future()
            shelf.waiting.append((condition, future))
            await future

    async def feed[T: Object](
        self,
        client: Verbs,
        kind: type[T],
        *,
        field_selector: str = "",
        label_selector: str = "",
        namespace: str = "",
        tell: Callable[[Synced[T] | Change[T]], None] | None = None,
    ) -> None:
        """Watch a kind until cancelled; ``tell`` hears of each change after it is in the cache."""
        self.add(kind)
        async for change in watch(client, kind, namespace, field_selector, label_selector):
            self.apply(change, kind)
            if tell is not None:
                tell(change)
