"""The watch cache over a store in memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kybern.machinery.kind import Kind
from kybern.storage.cache import FRAMED, Cache, Change, Expired, Stale
from kybern.storage.caches import Caches
from kybern.storage.memory import MemoryStore
from kybern.storage.store import Stored, Unavailable
from kybern.storage.value import Form, decoded

KIND = Kind(
    "", "v1", "ConfigMap", "configmaps", namespaced=True, schema="io.k8s.api.core.v1.ConfigMap",
    storage="configmaps", selectable={"data.a": lambda raw: raw.get("data", {}).get("a", "")},
)  # fmt: skip
FORM = Form(KIND)


def config_map(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "resourceVersion": "7"}
    return {"data": data, "kind": "ConfigMap", "metadata": metadata, "apiVersion": "v1"}


async def put(store: MemoryStore, name: str, expected: int = 0, **data: str) -> Stored:
    value = FORM.value(config_map(name, **data))
    return await store.put(KIND.key("default", name), value, expected)


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.ended = False

    def offer(self, change: Change) -> None:
        self.changes.append(change)

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def caches(store: MemoryStore) -> AsyncIterator[Caches]:
    tasks = asyncio.TaskGroup()
    async with tasks:
        yield Caches(store, tasks)
        for task in tuple(tasks._tasks):
            task.cancel()


def test_a_value_has_no_version_and_gets_one_when_served() -> None:
    value = FORM.value(config_map("a", k="v"))

    assert b"resourceVersion" not in value
    assert decoded(FORM.served(value, 12)) == {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"},
        "metadata": {"resourceVersion": "12", "name": "a", "namespace": "default"},
    }  # fmt: skip
    assert FORM.full(FORM.item(value, 12)) == FORM.served(value, 12)


def test_a_value_in_another_order_is_understood() -> None:
    foreign = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"k":"v"}}'

    assert FORM.raw(foreign, 3)["metadata"] == {"resourceVersion": "3", "name": "a"}


async def test_the_cache_shows_what_was_written_before_the_question(
    store: MemoryStore, caches: Caches
) -> None:
    await put(store, "b")
    await put(store, "a", a="1")
    cache = await caches.current(KIND)
    assert [entry.name for entry in cache.entries(KIND.prefix())] == ["a", "b"]

    stored = await put(store, "c")
    await store.delete(KIND.key("default", "b"), (await store.get(KIND.key("default", "b")))[0].revision)  # type: ignore[union-attr]
    cache = await caches.current(KIND)

    assert [entry.name for entry in cache.entries(KIND.prefix("default"))] == ["a", "c"]
    assert [entry.name for entry in cache.entries(KIND.prefix("other"))] == []
    found = cache.get(KIND.key("default", "a"))
    assert found is not None
    assert (found.fields, found.namespace) == ({"data.a": "1"}, "default")
    assert cache.revision > stored.revision


async def test_a_write_elsewhere_lets_the_cache_progress(store: MemoryStore, caches: Caches) -> None:
    cache = await caches.current(KIND)
    stored = await store.put("/registry/pods/x", b"{}", 0)

    assert (await caches.current(KIND)).revision >= stored.revision
    assert len(cache) == 0


async def test_a_watcher_gets_the_past_and_then_the_present(store: MemoryStore, caches: Caches) -> None:
    cache = await caches.current(KIND)
    since = cache.revision
    first = await put(store, "a")
    await caches.current(KIND)
    seen = Seen()

    past = cache.subscribe(seen, since)
    second = await put(store, "a", first.revision, a="2")
    await store.delete(KIND.key("default", "a"), second.revision)
    await caches.current(KIND)

    assert [(change.now is not None, change.before is not None) for change in past] == [(True, False)]
    assert [(change.now is not None, change.before is not None) for change in seen.changes] == [
        (True, True),
        (False, True),
    ]
    cache.unsubscribe(seen)
    await put(store, "z")
    await caches.current(KIND)
    assert len(seen.changes) == 2


async def test_a_value_that_cannot_be_read_is_not_told_to_be_gone(store: MemoryStore, caches: Caches) -> None:
    key = KIND.key("default", "a")
    first = await put(store, "a", a="1")
    cache = await caches.current(KIND)
    seen = Seen()
    cache.subscribe(seen, cache.revision)

    broken = await store.put(key, b"k8s:enc:aesgcm:v1:lost:???", first.revision)
    await caches.current(KIND)
    assert seen.changes == []
    kept = cache.get(key)
    assert kept is not None
    assert kept.revision == first.revision

    await put(store, "a", broken.revision, a="2")
    await caches.current(KIND)
    assert [(change.now is not None, change.before is not None) for change in seen.changes] == [(True, True)]


async def test_only_the_newest_changes_keep_the_frames_that_watchers_share(
    store: MemoryStore, caches: Caches
) -> None:
    class Framing(Seen):
        def offer(self, change: Change) -> None:
            super().offer(change)
            change.frames["form"] = b"as large as the object"

    cache = caches.of(KIND)
    await cache.reached(await store.revision())
    watcher = Framing()
    cache.subscribe(watcher, cache.revision)
    for number in range(FRAMED + 3):
        stored = await put(store, f"o{number}")
    await cache.reached(stored.revision)

    assert [bool(change.frames) for change in watcher.changes] == [False] * 3 + [True] * FRAMED


async def test_a_revision_from_before_the_cache_has_expired(store: MemoryStore, caches: Caches) -> None:
    await put(store, "a")
    cache = await caches.current(KIND)

    with pytest.raises(Expired):
        cache.subscribe(Seen(), cache.revision - 1)


async def test_without_the_store_the_present_is_unknown_and_the_cache_stays(
    store: MemoryStore, caches: Caches
) -> None:
    await put(store, "a")
    cache = await caches.current(KIND)
    store.down = True

    with pytest.raises(Unavailable):
        await caches.current(KIND)
    assert [entry.name for entry in cache.entries(KIND.prefix())] == ["a"]

    store.down = False
    await put(store, "b")
    assert len(await caches.current(KIND)) == 2


async def test_after_a_compaction_it_lists_again_and_ends_its_watchers(
    store: MemoryStore, caches: Caches
) -> None:
    cache = await caches.current(KIND)
    seen = Seen()
    cache.subscribe(seen, cache.revision)
    store.down = True
    await asyncio.sleep(0)
    store.down = False
    first = await put(store, "a")
    second = await put(store, "a", first.revision, a="2")
    await store.compact(second.revision + 1)

    assert len(await caches.current(KIND)) == 1
    assert seen.ended or [change.now is not None for change in seen.changes] == [True, True]


async def test_a_revision_of_the_future_is_not_waited_for_long(store: MemoryStore) -> None:
    cache = Cache(store, KIND)

    with pytest.raises(Stale):
        await cache.reached(5, seconds=0.01)
