"""Messages are made once a version, kept within bounds, and gone with their versions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kybern.machinery import protobuf
from kybern.machinery.kind import Kind
from kybern.storage.cache import Cache
from kybern.storage.memory import MemoryStore
from kybern.storage.messages import MOST_WAITING, Messages
from kybern.storage.value import Form

KIND = Kind(
    "", "v1", "ConfigMap", "configmaps", namespaced=True, schema="io.k8s.api.core.v1.ConfigMap",
    storage="configmaps",
)  # fmt: skip
FORM = Form(KIND)


class World:
    def __init__(self, most: int) -> None:
        self.store = MemoryStore()
        self.messages = Messages(most)
        self.cache = Cache(self.store, KIND, self.messages)
        self.most = most

    async def put(self, name: str, expected: int = 0, **data: str) -> int:
        value = FORM.value({"metadata": {"name": name, "namespace": "n"}, "data": data})
        revision = (await self.store.put(KIND.key("n", name), value, expected)).revision
        await self.cache.reached(revision)
        return revision

    def message(self, name: str) -> bytes:
        entry = self.cache.get(KIND.key("n", name))
        assert entry is not None
        return self.cache.message(entry)

    @property
    def kept(self) -> int:
        return self.most - self.messages.room


@pytest.fixture(params=[1 << 20])
async def world(request: Any) -> AsyncIterator[World]:
    found = World(request.param)
    task = asyncio.create_task(found.cache.run())
    yield found
    task.cancel()


async def test_a_message_is_made_once(world: World) -> None:
    await world.put("a", x="1")
    first = world.message("a")

    assert world.message("a") is first
    assert world.kept == len(first)


async def test_a_new_version_takes_the_room_of_the_old_one(world: World) -> None:
    version = await world.put("a", x="1")
    world.message("a")
    await world.put("a", version, x="22")
    between = world.kept
    message = world.message("a")

    assert between == 0
    assert world.kept == len(message)
    decoded = protobuf.decode(FORM.enveloped(message))
    assert decoded["data"] == {"x": "22"}


async def test_what_is_gone_needs_no_room(world: World) -> None:
    version = await world.put("a")
    await world.put("b")
    world.message("a")
    kept = len(world.message("b"))
    await world.cache.reached(await world.store.delete(KIND.key("n", "a"), version))
    after_delete = world.kept
    world.cache.close()

    assert after_delete == kept
    assert world.kept == 0


async def test_the_message_of_a_version_that_is_no_more_is_not_kept(world: World) -> None:
    version = await world.put("a", x="1")
    old = world.cache.get(KIND.key("n", "a"))
    assert old is not None
    await world.put("a", version, x="2")

    assert protobuf.decode(FORM.enveloped(world.cache.message(old)))["data"] == {"x": "1"}
    assert world.kept == 0


@pytest.mark.parametrize("world", [30], indirect=True)
async def test_without_room_messages_are_made_each_time(world: World) -> None:
    await world.put("a")
    await world.put("b")
    first, second = world.message("a"), world.message("b")

    assert world.kept == len(first) <= 30 < len(first) + len(second)
    assert world.message("b") == second
    assert world.message("b") is not second


async def test_a_message_made_for_the_writer_waits_for_its_entry(world: World) -> None:
    next_one = await world.store.revision() + 1
    item = FORM.item(FORM.value({"metadata": {"name": "a", "namespace": "n"}, "data": {}}), next_one)
    message = FORM.message(item)
    world.messages.expect(KIND.key("n", "a"), item, message)
    await world.put("a")

    assert world.message("a") is message


async def test_a_message_of_another_version_is_not_taken(world: World) -> None:
    item = FORM.item(FORM.value({"metadata": {"name": "a", "namespace": "n"}, "data": {"x": "9"}}), 1)
    world.messages.expect(KIND.key("n", "a"), item, FORM.message(item))
    await world.put("a", x="1")

    assert protobuf.decode(FORM.enveloped(world.message("a")))["data"] == {"x": "1"}


def test_only_a_few_messages_wait() -> None:
    messages = Messages()
    for number in range(2 * MOST_WAITING):
        messages.expect(str(number), b"{}", b"")

    assert len(messages._waiting) == MOST_WAITING
