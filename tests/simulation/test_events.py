"""Events beside the work."""

import asyncio

from kybern.api.core_v1 import Event, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.events import Recorder
from kybern.machinery.errors import ServiceUnavailable
from tests.simulation.api import FakeApi

POD = Pod(metadata=ObjectMeta(name="web", namespace="a", uid="u"))


async def settle(api: FakeApi, count: int) -> list[Event]:
    for _ in range(200):
        await asyncio.sleep(0.001)
        if len(api.requests) >= count:
            await asyncio.sleep(0.005)
            break
    return api.all(Event)


async def test_an_event_names_its_object_and_who_says_it() -> None:
    api = FakeApi(Event)
    async with Recorder(api, "kubelet", "n1") as recorder:
        recorder.emit(POD, "Normal", "Started", "Started container web")
        found = (await settle(api, 1))[0]

    about = found.involved_object
    assert (about.kind, about.namespace, about.name, about.uid) == ("Pod", "a", "web", "u")
    assert found.source is not None
    assert (found.source.component, found.source.host) == ("kubelet", "n1")
    assert (found.type, found.reason, found.message, found.count) == (
        "Normal",
        "Started",
        "Started container web",
        1,
    )


async def test_the_same_again_is_counted() -> None:
    api = FakeApi(Event)
    async with Recorder(api, "kubelet") as recorder:
        for _ in range(3):
            recorder.emit(POD, "Warning", "BackOff", "Back-off restarting")
        found = await settle(api, 3)

    assert [one.count for one in found] == [3]


async def test_one_object_cannot_fill_the_store() -> None:
    api = FakeApi(Event)
    async with Recorder(api, "kubelet") as recorder:
        for number in range(60):
            recorder.emit(POD, "Warning", "Failed", f"attempt {number}")
        found = await settle(api, 60)

    assert len(found) == 25


async def test_a_server_that_is_away_stops_nobody() -> None:
    api = FakeApi(Event)

    def down(_method: str, _path: str) -> None:
        raise ServiceUnavailable("down")

    api.refuse = down
    async with Recorder(api, "kubelet") as recorder:
        recorder.emit(POD, "Normal", "Lost", "lost")
        await settle(api, 1)
        api.refuse = lambda _method, _path: None
        recorder.emit(POD, "Normal", "Kept", "kept")
        found = await settle(api, 2)

    assert [one.reason for one in found] == ["Kept"]


async def test_objects_without_a_namespace_have_their_events_in_default() -> None:
    from kybern.api.core_v1 import Node

    api = FakeApi(Event)
    async with Recorder(api, "kubelet") as recorder:
        recorder.emit(Node(metadata=ObjectMeta(name="n1")), "Normal", "NodeReady", "ready")
        found = await settle(api, 1)

    assert found[0].metadata.namespace == "default"
