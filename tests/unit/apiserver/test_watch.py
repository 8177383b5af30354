"""Watches: frames in, frames out, without a network."""

import asyncio
import json
from typing import Any

from kybern.apiserver import negotiate
from kybern.apiserver.generic import delete, patch, watch
from kybern.apiserver.generic import frames as frames_
from kybern.apiserver.generic import list as listing
from kybern.apiserver.generic.patch import MERGE_PATCH
from kybern.apiserver.negotiate import Form
from kybern.apiserver.options import DeleteOptions
from kybern.storage import cache as cache_
from tests.unit.machinery import oracle


def told(frames: list[bytes]) -> list[tuple[str, str]]:
    events = [json.loads(line) for frame in frames for line in frame.splitlines()]
    return [(event["type"], event["object"].get("metadata", {}).get("name", "")) for event in events]


_PLAIN = Form()


class Client:
    """Reads a stream into a list."""

    def __init__(self, stream: watch.Stream) -> None:
        self.frames: list[bytes] = []
        stream.write = self.frames.append
        stream.flow()


async def opened(call: Any, form: Form = _PLAIN, **query: Any) -> tuple[watch.Stream, list[bytes], Client]:
    stream, frames = await watch.begin(call("configmaps", **query), form)
    return stream, frames, Client(stream)


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


async def relabel(call: Any, name: str, value: str) -> None:
    body = json.dumps({"metadata": {"labels": {"l": value}}}).encode()
    await patch.patch_(call("configmaps", name), body, MERGE_PATCH)


async def test_without_a_version_it_begins_with_what_is_there(make: Any, call: Any) -> None:
    await make("configmaps", config_map("a"))
    _, frames, client = await opened(call)
    await make("configmaps", config_map("b"))
    await delete.delete(call("configmaps", "a"), DeleteOptions())
    await listing.list_(call("configmaps"))

    assert told(frames) == [("ADDED", "a")]
    assert told(client.frames) == [("ADDED", "b"), ("DELETED", "a")]


async def test_from_a_version_it_tells_what_happened_since(make: Any, call: Any) -> None:
    since = (await listing.list_(call("configmaps"))).revision
    await make("configmaps", config_map("a"))
    await listing.list_(call("configmaps"))
    _, frames, _ = await opened(call, resourceVersion=str(since or 1))

    assert told(frames) == [("ADDED", "a")]


async def test_what_enters_or_leaves_a_selection_is_added_or_deleted(make: Any, call: Any) -> None:
    await make("configmaps", config_map("a", l="1"))
    _, frames, client = await opened(call, labelSelector="l=1")
    await relabel(call, "a", "2")
    await relabel(call, "a", "1")
    await listing.list_(call("configmaps"))

    assert told(frames) == [("ADDED", "a")]
    assert told(client.frames) == [("DELETED", "a"), ("ADDED", "a")]
    assert json.loads(client.frames[0])["object"]["metadata"]["labels"] == {"l": "1"}


async def test_a_version_from_before_is_answered_with_an_error_event(
    make: Any, call: Any, store: Any
) -> None:
    for name in "abc":
        await make("configmaps", config_map(name))
    await listing.list_(call("configmaps"))
    _, frames, _ = await opened(call, resourceVersion="1")

    event = json.loads(frames[0])
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_bookmark_ends_the_initial_events(make: Any, call: Any) -> None:
    await make("configmaps", config_map("a"))
    query: Any = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    _, frames, _ = await opened(call, **query)

    assert told(frames)[0] == ("ADDED", "a")
    bookmark = json.loads(frames[-1])
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_changes_during_the_beginning_come_after_it(make: Any, call: Any) -> None:
    stream, frames = await watch.begin(call("configmaps"), Form())
    await make("configmaps", config_map("a"))
    await listing.list_(call("configmaps"))
    client = Client(stream)

    assert frames == []
    assert told(client.frames) == [("ADDED", "a")]


async def test_clients_of_one_form_share_a_frame(make: Any, call: Any) -> None:
    _, _, first = await opened(call)
    _, _, second = await opened(call)
    await make("configmaps", config_map("a"))
    await listing.list_(call("configmaps"))

    assert first.frames[0] is second.frames[0]


async def test_a_client_that_does_not_read_is_left(make: Any, call: Any) -> None:
    stream, _, _ = await opened(call)
    stream.unsent = lambda: watch.MOST_UNSENT + 1
    await make("configmaps", config_map("a"))
    await listing.list_(call("configmaps"))

    assert stream.closed.done()
    await asyncio.sleep(0)


async def test_a_table_has_its_columns_once(make: Any, call: Any) -> None:
    await make("configmaps", config_map("a"))
    await make("configmaps", config_map("b"))
    _, frames, _ = await opened(call, Form(shape="Table"))

    first, second = (json.loads(frame)["object"] for frame in frames)
    assert first["columnDefinitions"][0]["name"] == "Name"
    assert second["columnDefinitions"] is None
    assert second["rows"][0]["cells"][0] == "b"


async def test_each_client_is_told_of_what_it_asked_for_and_no_more(make: Any, call: Any) -> None:
    _, _, own = await opened(call)
    _, _, others = await opened(call, namespace="other")
    _, _, labelled = await opened(call, labelSelector="l=x")
    _, _, partial = await opened(call, Form(shape="PartialObjectMetadata"))
    await make("configmaps", config_map("a", l="x"))
    await make("configmaps", config_map("b", l="y"), namespace="other")
    await make("configmaps", config_map("c", l="y"))
    await listing.list_(call("configmaps"))

    assert told(own.frames) == told(partial.frames) == [("ADDED", "a"), ("ADDED", "c")]
    assert told(others.frames) == [("ADDED", "b")]
    assert told(labelled.frames) == [("ADDED", "a")]
    assert b"PartialObjectMetadata" in partial.frames[0]
    assert own.frames[0] != partial.frames[0]


PROTOBUF = Form(negotiate.PROTOBUF)


async def test_protobuf_clients_get_framed_messages(make: Any, call: Any) -> None:
    await make("configmaps", {**config_map("a", l="1"), "data": {"k": "v"}})
    _, frames, client = await opened(call, PROTOBUF, labelSelector="l=1")
    await relabel(call, "a", "2")
    current = (await listing.list_(call("configmaps"))).revision

    [(added, kind, first)] = oracle.events(b"".join(frames))
    [(deleted, _, last)] = oracle.events(b"".join(client.frames))
    assert (added, kind, first.metadata.name, first.data[0].value) == ("ADDED", "ConfigMap", "a", "v")
    assert (deleted, last.metadata.name, last.metadata.labels[0].value) == ("DELETED", "a", "1")
    assert last.metadata.resourceVersion == str(current)


async def test_watchers_of_protobuf_share_the_bytes_of_a_change(make: Any, call: Any) -> None:
    clients = [(await opened(call, PROTOBUF))[2] for _ in range(2)]
    await make("configmaps", config_map("a"))
    await listing.list_(call("configmaps"))

    assert clients[0].frames[0] is clients[1].frames[0]


async def test_a_watch_list_in_protobuf_ends_its_beginning_with_a_bookmark(make: Any, call: Any) -> None:
    await make("configmaps", config_map("a"))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    _, frames, _ = await opened(call, PROTOBUF, **query)

    (_, _, first), (bookmark, kind, end) = oracle.events(b"".join(frames))
    assert (bookmark, kind) == ("BOOKMARK", "ConfigMap")
    assert [(entry.key, entry.value) for entry in end.metadata.annotations] == [(frames_.INITIAL_END, "true")]
    assert int(end.metadata.resourceVersion) >= int(first.metadata.resourceVersion)


async def test_metadata_of_protobuf_watchers_is_all_they_get(make: Any, call: Any) -> None:
    await make("configmaps", {**config_map("a"), "data": {"k": "v"}})
    _, frames, _ = await opened(call, Form(negotiate.PROTOBUF, "PartialObjectMetadata"))

    [(_, kind, found)] = oracle.events(b"".join(frames))
    assert (kind, found.metadata.name) == ("PartialObjectMetadata", "a")
    assert b"\x12\x01k" not in b"".join(frames)


async def test_kinds_that_are_stored_as_others_are_watched_in_protobuf(make: Any, call: Any) -> None:
    event = {
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i",
        "action": "A", "type": "Normal",
    }  # fmt: skip
    await make("events", event, "events.k8s.io")
    _, frames = await watch.begin(call("events", group="events.k8s.io"), PROTOBUF)

    [(_, kind, found)] = oracle.events(b"".join(frames))
    assert (kind, found.reportingController, found.regarding.name) == ("Event", "c", "p")


async def test_a_version_from_before_is_answered_in_protobuf_too(make: Any, call: Any, store: Any) -> None:
    await make("configmaps", config_map("a"))
    await store.compact(await store.revision())
    _, frames, _ = await opened(call, PROTOBUF, resourceVersion="1")

    [(error, kind, status)] = oracle.events(b"".join(frames))
    assert (error, kind, status.code, status.reason) == ("ERROR", "Status", 410, "Expired")


async def test_a_watch_list_of_the_future_is_told_so_in_an_event(call: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(cache_, "PATIENCE", 0.05)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "resourceVersion": "99999"}
    stream, frames, _ = await opened(call, _PLAIN, **query)

    event = json.loads(frames[0])
    assert (event["type"], event["object"]["code"]) == ("ERROR", 504)
    assert event["object"]["message"].startswith("Too large resource version: 99999, current:")
    assert stream.closed.done()


async def test_an_event_is_no_list(make: Any, call: Any) -> None:
    stream, frames, client = await opened(call, Form(shape="PartialObjectMetadataList"))
    await make("configmaps", config_map("a"))
    await listing.list_(call("configmaps"))

    assert (frames, client.frames, stream.closed.done()) == ([], [], True)


async def test_an_object_that_has_no_place_in_protobuf_ends_only_the_watches_that_want_it(
    call: Any, store: Any
) -> None:
    _, _, plain = await opened(call)
    stream, _, client = await opened(call, PROTOBUF)
    asked = call("configmaps", "odd")
    value = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"odd","namespace":"default"},"data":{"k":1}}'
    await store.put(asked.key, value, 0)
    found = await listing.list_(call("configmaps"))

    assert told(plain.frames) == [("ADDED", "odd")]
    assert (client.frames, stream.closed.done(), len(found.items)) == ([], True, 1)
