"""Events beside the work."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from kybern.api.core_v1 import Event, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.events import KEPT, USEFUL, WRITERS, Recorder
from kybern.machinery.errors import ServiceUnavailable, Timeout
from tests.simulation.api import FakeApi

POD = Pod(metadata=ObjectMeta(name="web", namespace="a", uid="u"))


async def settle(api: FakeApi, count: int) -> list[Event]:
    for _ in range(200):
        await asyncio.sleep(0.001)
        if len(api.requests) >= count:
            await asyncio.sleep(0.005)
            break
    return api.all(Event)


async def written(api: FakeApi, count: int) -> list[Event]:
    """So many events, once they are there; they may wait for a server that was away."""
    async with asyncio.timeout(10):
        while len(api.all(Event)) < count:
            await asyncio.sleep(0.01)
    return api.all(Event)


async def test_an_event_names_its_object_and_who_says_it() -> None:
    api = FakeApi(Event)
    async with Recorder(api, "kubelet", "n1") as recorder:
        recorder.emit(POD, "Normal", "Started", "Started container web", {"image": "web:1"})
        found = (await settle(api, 1))[0]

    about = found.involved_object
    assert (about.kind, about.namespace, about.name, about.uid) == ("Pod", "a", "web", "u")
    assert found.metadata.annotations == {"image": "web:1"}
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
        recorder.emit(POD, "Normal", "Said", "said")
        for _again in range(30):
            recorder.emit(POD, "Warning", "Unhealthy", "probe failed")
        recorder.emit(numbered(2), "Normal", "Beside", "of another")
        await asyncio.sleep(0.15)
        api.refuse = lambda _method, _path: None
        found = await written(api, 3)

    assert [(one.reason, one.count) for one in sorted(found, key=lambda one: one.metadata.name)] == [
        ("Beside", 1),
        ("Said", 1),
        ("Unhealthy", 30),
    ]


class Loses(FakeApi):
    """A server whose first answers are lost: it did what it was asked."""

    lost = 2

    async def request(self, *given: Any, **more: Any) -> Any:
        answer = await super().request(*given, **more)
        if self.lost:
            self.lost -= 1
            raise Timeout("no answer in time")
        return answer


async def test_what_was_written_and_not_answered_is_not_written_twice() -> None:
    api = Loses(Event)
    async with Recorder(api, "kubelet") as recorder:
        recorder.emit(POD, "Normal", "Said", "said")
        await settle(api, 3)
        recorder.emit(POD, "Normal", "Said", "said")
        async with asyncio.timeout(10):
            while (found := api.all(Event))[0].count != 2:
                await asyncio.sleep(0.01)

    assert [(one.reason, one.count) for one in found] == [("Said", 2)]


async def test_what_nobody_took_for_an_hour_is_dropped() -> None:
    api, now = FakeApi(Event), datetime(2026, 1, 1, tzinfo=UTC)

    def down(_method: str, _path: str) -> None:
        raise ServiceUnavailable("down")

    api.refuse = down
    async with Recorder(api, "kubelet", clock=lambda: now) as recorder:
        recorder.emit(POD, "Normal", "Old", "old")
        await settle(api, 1)
        now += timedelta(seconds=USEFUL + 1)
        recorder.emit(POD, "Normal", "New", "new")
        await asyncio.sleep(0.25)
        api.refuse = lambda _method, _path: None
        found = await written(api, 1)

    assert [one.reason for one in found] == ["New"]


async def test_only_one_asks_a_server_again_that_does_not_answer() -> None:
    api = FakeApi(Event)

    def down(_method: str, _path: str) -> None:
        raise ServiceUnavailable("down")

    api.refuse = down
    async with Recorder(api, "kubelet") as recorder:
        for number in range(100):
            recorder.emit(numbered(number), "Normal", "Said", "said")
        await asyncio.sleep(0.5)
        asked = len(api.requests)
        api.refuse = lambda _method, _path: None
        found = await written(api, 100)

    assert WRITERS < asked < WRITERS + 10
    assert len(found) == 100


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
