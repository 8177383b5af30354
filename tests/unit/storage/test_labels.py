"""Lists by label, while entries come, change and go."""

import asyncio

import pytest

from kybern.machinery.kind import Kind
from kybern.storage import labels
from kybern.storage.cache import Cache
from kybern.storage.memory import MemoryStore
from kybern.storage.store import Event, EventType, Stored

KIND = Kind(
    "", "v1", "ConfigMap", "configmaps", namespaced=True, schema="io.k8s.api.core.v1.ConfigMap",
    storage="configmaps",
)  # fmt: skip


@pytest.fixture
async def cache() -> Cache:
    return Cache(MemoryStore(), KIND)


def put(cache: Cache, namespace: str, name: str, revision: int, **given: str) -> None:
    value = cache.form.value({"metadata": {"name": name, "namespace": namespace, "labels": given}})
    key = KIND.key(namespace, name)
    cache.apply(Event(EventType.PUT, key, Stored(key, value, revision, revision), revision))


def drop(cache: Cache, namespace: str, name: str, revision: int) -> None:
    cache.apply(Event(EventType.DELETE, KIND.key(namespace, name), None, revision))


def shown(cache: Cache, label: str, value: str, namespace: str = "") -> list[str]:
    return [
        f"{entry.namespace}/{entry.name}" for entry in cache.labelled(KIND.prefix(namespace), label, value)
    ]


async def test_a_list_by_label_follows_the_entries(cache: Cache) -> None:
    put(cache, "b", "two", 1, app="x")
    put(cache, "a", "one", 2, app="x", tier="front")
    put(cache, "a", "none", 3)
    assert shown(cache, "app", "x") == ["a/one", "b/two"]
    assert shown(cache, "app", "x", "b") == ["b/two"]
    assert shown(cache, "app", "y") == []

    put(cache, "b", "two", 4, app="y")
    put(cache, "a", "later", 5, app="x")
    put(cache, "a", "none", 6, app="y")
    assert shown(cache, "app", "x") == ["a/later", "a/one"]
    assert shown(cache, "app", "y") == ["a/none", "b/two"]

    drop(cache, "a", "later", 7)
    put(cache, "a", "none", 8)
    assert shown(cache, "app", "x") == ["a/one"]
    assert shown(cache, "app", "y") == ["b/two"]
    assert shown(cache, "tier", "front") == ["a/one"]


async def test_a_list_by_label_shows_the_newest_entry(cache: Cache) -> None:
    put(cache, "a", "one", 1, app="x")
    shown(cache, "app", "x")
    put(cache, "a", "one", 2, app="x")

    (entry,) = cache.labelled(KIND.prefix(), "app", "x")
    assert entry.revision == 2
    assert cache.entries(KIND.prefix()) == [entry]


async def test_only_so_many_labels_are_indexed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST", 2)
    put(cache, "a", "one", 1, app="x")
    for label in ("app", "b", "c", "d"):
        shown(cache, label, "x")

    assert list(cache._labels._by) == ["c", "d"]
    assert shown(cache, "app", "x") == ["a/one"]


async def test_a_cache_that_lists_anew_forgets_what_was_indexed() -> None:
    store = MemoryStore()
    cache = Cache(store, KIND)
    running = asyncio.create_task(cache.run())
    await cache.reached(0)
    put(cache, "a", "ghost", 1, app="x")
    assert shown(cache, "app", "x") == ["a/ghost"]
    await cache._fill()

    assert shown(cache, "app", "x") == []
    running.cancel()
