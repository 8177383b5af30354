"""Objects kept by watches."""

import asyncio
from datetime import UTC, datetime

from kybern.api.core_v1 import Pod, PodSpec
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.client.cache import Cache
from kybern.client.watch import Added, Deleted, Modified, Synced

OWNER = Pod(metadata=ObjectMeta(name="owner", uid="u1"))


def pod(name: str, node: str = "", owner: str = "", version: str = "1", namespace: str = "a") -> Pod:
    owners = (OwnerReference(uid=owner, controller=True),) if owner else ()
    metadata = ObjectMeta(name=name, namespace=namespace, resource_version=version, owner_references=owners)
    return Pod(metadata=metadata, spec=PodSpec(node_name=node))


def by_node(item: Pod) -> tuple[str, ...]:
    return (item.spec.node_name,)


def filled(*pods: Pod) -> Cache:
    cache = Cache(lambda: datetime(2026, 1, 1, tzinfo=UTC))
    cache.add_index(Pod, "node", by_node)
    cache.apply(Synced(pods), Pod)
    return cache


def test_objects_are_found_by_name_namespace_owner_and_index() -> None:
    one, two = pod("one", "n1", "u1"), pod("two", "n2", namespace="b")
    cache = filled(one, two)

    assert cache.get(Pod, "a", "one") is one
    assert cache.get(Pod, "b", "one") is None
    assert list(cache.list(Pod)) == [one, two]
    assert list(cache.list(Pod, "b")) == [two]
    assert list(cache.owned(Pod, OWNER)) == [one]
    assert list(cache.index(Pod, "node", "n2")) == [two]


def test_a_change_moves_an_object_in_every_index() -> None:
    old, new = pod("one", "n1", "u1"), pod("one", "n2")
    cache = filled(old)

    cache.apply(Modified(new, old))

    assert list(cache.index(Pod, "node", "n1")) == []
    assert list(cache.index(Pod, "node", "n2")) == [new]
    assert list(cache.owned(Pod, OWNER)) == []


def test_what_is_deleted_is_nowhere() -> None:
    one = pod("one", "n1", "u1")
    cache = filled(one)

    cache.apply(Deleted(one))

    assert [*cache.list(Pod), *cache.owned(Pod, OWNER), *cache.index(Pod, "node", "n1")] == []


def test_who_owns_without_controlling_has_no_such_objects() -> None:
    shared = pod("one")
    metadata = ObjectMeta(name="one", namespace="a", owner_references=(OwnerReference(uid="u1"),))
    cache = filled(Pod(metadata=metadata, spec=shared.spec))

    assert list(cache.owned(Pod, OWNER)) == []
    assert len(list(cache.index(Pod, "owner", "u1"))) == 1


def test_an_index_that_is_added_later_knows_what_is_there() -> None:
    cache = Cache()
    cache.add(Pod)
    cache.apply(Added(pod("one", "n1")))

    cache.add_index(Pod, "node", by_node)

    assert [one.metadata.name for one in cache.index(Pod, "node", "n1")] == ["one"]


async def test_a_write_is_waited_for_until_its_version_is_seen() -> None:
    old = pod("one", version="3")
    cache = filled(old)
    waiting = asyncio.create_task(cache.until_written(pod("one", version="7")))
    await asyncio.sleep(0)

    cache.apply(Modified(pod("one", version="5"), old))
    await asyncio.sleep(0)
    assert not waiting.done()

    cache.apply(Added(pod("two", version="8")))
    await asyncio.wait_for(waiting, 30)


async def test_a_deletion_is_waited_for_until_the_object_is_gone_or_going() -> None:
    old = pod("one")
    cache = filled(old)
    waiting = asyncio.create_task(cache.until_deleted(old))
    await asyncio.sleep(0)
    assert not waiting.done()

    cache.apply(Deleted(old))

    await asyncio.wait_for(waiting, 30)


def test_tells_when_a_version_came_in() -> None:
    one = pod("one")
    cache = filled(one)

    assert cache.arrived(one) == datetime(2026, 1, 1, tzinfo=UTC)
    assert cache.arrived(pod("other")) < datetime(1971, 1, 1, tzinfo=UTC)
