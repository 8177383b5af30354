"""Events beside the work."""

import asyncio
from typing import Any

from kybern.api.core_v1 import Event, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.events import KEPT, WRITERS, Recorder
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


class Slow(FakeApi):
    """A server that answers when it is told to; ``most`` is how many requests were under way at a time."""

    def __init__(self) -> None:
        super().__init__(Event)
        self.answering = asyncio.Event()
        self.most = self.now = self.done = 0

    async def request(self, *given: Any, **more: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.answering.wait()
            return await super().request(*given, **more)
        finally:
            self.now -= 1
            self.done += 1


def numbered(number: int) -> Pod:
    return Pod(metadata=ObjectMeta(name=f"p{number}", namespace="a", uid=f"u{number}"))


async def test_events_of_many_objects_are_written_together_and_none_is_lost() -> None:
    api = Slow()
    async with Recorder(api, "default-scheduler") as recorder:
        for number in range(10_000):
            recorder.emit(numbered(number), "Normal", "Scheduled", "assigned")
        while api.now < WRITERS:
            await asyncio.sleep(0)
        api.answering.set()
        while api.done < 10_000:
            await asyncio.sleep(0)

    assert api.most == WRITERS
    assert {one.involved_object.name for one in api.all(Event)} == {f"p{number}" for number in range(10_000)}


async def test_events_of_one_object_keep_their_order() -> None:
    api = Slow()
    async with Recorder(api, "kubelet") as recorder:
        for reason in ("Pulled", "Created", "Started", "Started"):
            recorder.emit(POD, "Normal", reason, "of web")
        while not api.now:
            await asyncio.sleep(0)
        api.answering.set()
        found = await settle(api, 4)

    assert api.most == 1
    assert [(one.reason, one.count) for one in sorted(found, key=lambda one: one.metadata.name)] == [
        ("Pulled", 1),
        ("Created", 1),
        ("Started", 2),
    ]


async def test_what_is_too_much_to_keep_is_dropped() -> None:
    api = Slow()
    async with Recorder(api, "kubelet") as recorder:
        for number in range(KEPT + 5):
            recorder.emit(numbered(number % 1000), "Normal", f"R{number}", "text")
        assert sum(len(of) for of in recorder._waiting.values()) == KEPT


async def test_what_a_cancelled_run_left_is_written_by_the_next() -> None:
    api = Slow()
    recorder = Recorder(api, "kubelet")
    async with recorder:
        for reason in ("Pulled", "Created", "Started"):
            recorder.emit(POD, "Normal", reason, "of web")
        while not api.now:
            await asyncio.sleep(0)
    async with recorder:
        api.answering.set()
        found = await settle(api, 2)

    assert {one.reason for one in found} == {"Created", "Started"}
