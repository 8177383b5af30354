"""List, then watch, whatever the server does."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from kybern.api.core_v1 import Pod
from kybern.client import watch as watching
from kybern.client.verbs import JSON, PATIENCE, Verbs
from kybern.client.watch import Added, Deleted, Modified, Synced, lines, watch
from kybern.machinery.errors import ApiError, Gone, ServiceUnavailable


def raw(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a", "resourceVersion": str(version)}}


def event(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


BOOKMARK = event("BOOKMARK", {"metadata": {"resourceVersion": "50"}})
EXPIRED = event(
    "ERROR", {"kind": "Status", "reason": "Expired", "code": 410, "message": "too old resource version"}
)


class Scripted(Verbs):
    """Answers lists and watches from a script, and remembers what was asked."""

    def __init__(self, lists: list[Any], streams: list[Any]) -> None:
        self.lists, self.streams = lists, streams
        self.asked: list[str] = []

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout: float = PATIENCE,
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        self.asked.append(path)
        answer = self.lists.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return json.dumps(answer).encode()

    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(path)
        answer = self.streams.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        yield self._chunks(answer)

    async def _chunks(self, chunks: list[bytes]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk


def listed(version: int, *items: dict[str, Any], more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_FIRST_DELAY", 0.0)


async def seen(server: Scripted, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    # What is a generator is typed as an iterator: only its reader must close it.
    changing: Any = watch(server, Pod)
    async with aclosing(changing) as changes:
        async for change in changes:
            match change:
                case Synced(items):
                    found.append(("synced", [item.metadata.name for item in items]))
                case Added(item) | Deleted(item):
                    found.append((type(change).__name__, item.metadata.name))
                case Modified(item, old):
                    found.append(
                        ("Modified", (old.metadata.resource_version, item.metadata.resource_version))
                    )
            if len(found) == count:
                return found
    return found


async def test_all_objects_first_and_then_each_change_with_what_was_before() -> None:
    server = Scripted(
        [listed(5, raw("one", 3))],
        [[event("ADDED", raw("two", 6)), event("MODIFIED", raw("one", 7)), event("DELETED", raw("two", 8))]],
    )

    assert await seen(server, 4) == [
        ("synced", ["one"]),
        ("Added", "two"),
        ("Modified", ("3", "7")),
        ("Deleted", "two"),
    ]


async def test_an_empty_list_is_told_too() -> None:
    assert await seen(Scripted([listed(5)], [[]]), 1) == [("synced", [])]


async def test_a_stream_that_ends_goes_on_from_the_last_bookmark() -> None:
    server = Scripted([listed(5)], [[BOOKMARK], [event("ADDED", raw("one", 51))]])

    assert await seen(server, 2) == [("synced", []), ("Added", "one")]
    assert "resourceVersion=50" in server.asked[-1]


@pytest.mark.parametrize("ends", [Gone("compacted"), [EXPIRED]])
async def test_expired_versions_make_a_new_list_that_shows_as_changes(ends: Any) -> None:
    server = Scripted(
        [
            listed(5, raw("same", 1), raw("gone", 2), raw("changed", 3)),
            listed(9, raw("same", 1), raw("changed", 8), raw("new", 9)),
        ],
        [ends, []],
    )

    assert await seen(server, 4) == [
        ("synced", ["same", "gone", "changed"]),
        ("Deleted", "gone"),
        ("Modified", ("3", "8")),
        ("Added", "new"),
    ]


async def test_a_server_that_is_away_is_asked_again_from_the_same_version() -> None:
    server = Scripted(
        [ServiceUnavailable("away"), listed(5)],
        [ServiceUnavailable("away"), [event("ADDED", raw("one", 6))]],
    )

    assert await seen(server, 2) == [("synced", []), ("Added", "one")]
    assert "resourceVersion=5" in server.asked[-1]


async def test_a_long_list_comes_in_pages() -> None:
    server = Scripted([listed(5, raw("one", 1), more="next"), listed(5, raw("two", 2))], [[]])

    assert await seen(server, 1) == [("synced", ["one", "two"])]
    assert "continue=next" in server.asked[1]


async def test_what_is_not_json_makes_a_new_list() -> None:
    server = Scripted([listed(5), listed(6, raw("one", 6))], [[b"{nonsense\n"], []])

    assert await seen(server, 2) == [("synced", []), ("Added", "one")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_lines_however_the_stream_is_cut(size: int) -> None:
    text = b"one\ntwo two\n\nthree\n"

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    assert [line async for line in lines(chunks())] == [b"one", b"two two", b"", b"three"]
