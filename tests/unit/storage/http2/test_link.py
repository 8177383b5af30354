"""What a connection does as time goes by, over a transport that only remembers."""

import asyncio
from typing import cast

import pytest

from kybern.storage.http2 import frames, hpack, link
from kybern.storage.http2.failed import CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, Failed
from kybern.storage.http2.link import Link, Stream

HEAD = hpack.encoded([(":path", "/a")])
OK = hpack.encoded([("grpc-status", "0")])
PING = frames.frame(frames.PING, 0, 0, bytes(8))


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.protocol: Link | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    async def flushed(self) -> bytes:
        await asyncio.sleep(0)
        return self.written[-1]

    def abort(self) -> None:
        assert self.protocol is not None
        self.protocol.connection_lost(None)


def made(seconds: float = 10.0) -> tuple[Link, Transport]:
    transport = Transport()
    transport.protocol = found = Link("etcd:2379", seconds)
    found.connection_made(cast("asyncio.Transport", transport))
    return found, transport


def message(number: int, payload: bytes) -> bytes:
    return frames.frame(frames.DATA, 0, number, frames.message(payload))


def end(number: int) -> bytes:
    return frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number, OK)


async def test_a_call_gets_its_answer() -> None:
    found, _ = made()
    answers = [found.unary(HEAD, b""), found.unary(HEAD, b"")]
    found.data_received(message(3, b"second") + end(3) + message(1, b"first") + end(1))

    assert await asyncio.gather(*answers) == [b"first", b"second"]


async def test_a_call_ends_in_time_and_others_with_it_do_not() -> None:
    found, transport = made(0.05)
    early = found.unary(HEAD, b"")
    answered = found.unary(HEAD, b"")
    found.data_received(message(3, b"") + end(3))
    await answered
    with pytest.raises(Failed) as late:
        await early

    assert late.value.status == DEADLINE_EXCEEDED
    assert await transport.flushed() == frames.reset(1)
    assert found.usable


async def test_who_waits_may_go() -> None:
    found, _ = made()
    waiting = asyncio.ensure_future(asyncio.wait_for(found.unary(HEAD, b""), 0.01))
    with pytest.raises(TimeoutError):
        await waiting
    found.data_received(message(1, b"late") + end(1))

    assert len(found.connection) == 0


async def test_a_silent_server_is_asked_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_LOOK_SECONDS", 0.01)
    found, transport = made()
    with pytest.raises(Failed, match="no sign of life") as lost:
        await found.unary(HEAD, b"")

    assert lost.value.status == UNAVAILABLE
    assert transport.written[-1] == PING
    assert not found.usable


async def test_a_server_that_answers_is_kept_and_without_calls_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "_LOOK_SECONDS", 0.01)
    found, transport = made()
    await asyncio.sleep(0.1)
    assert PING not in transport.written
    waiting = found.unary(HEAD, b"")
    async with asyncio.timeout(30):
        for _ in range(3):
            while transport.written[-1] != PING:
                await asyncio.sleep(0)
            transport.written.append(b"")
            found.data_received(frames.frame(frames.PING, frames.ACK, 0, bytes(8)))

    assert found.usable
    assert not waiting.done()
    found.close("enough")
    with pytest.raises(Failed, match="enough"):
        await waiting


async def test_a_stream_gives_what_was_said_before_it_ended() -> None:
    found, _ = made()
    stream = Stream(found, HEAD, b"")
    heard: list[bytes] = []

    async def listen() -> None:
        async for payload in stream:
            heard.append(payload)  # noqa: PERF401

    listening = asyncio.ensure_future(listen())
    found.data_received(message(1, b"a"))
    while not heard:
        await asyncio.sleep(0)
    found.data_received(message(1, b"b"))
    stream.cancel("no longer")
    with pytest.raises(Failed, match="no longer") as ended:
        await listening

    assert heard == [b"a", b"b"]
    assert ended.value.status == CANCELLED


async def test_what_is_no_http_loses_the_connection() -> None:
    found, _ = made()
    waiting = found.unary(HEAD, b"")
    found.data_received(frames.frame(frames.SETTINGS, 0, 0, b"x"))

    with pytest.raises(Failed, match="settings"):
        await waiting
    assert not found.usable


async def test_a_server_that_goes_is_left_when_the_last_call_has_ended() -> None:
    found, _ = made()
    waiting = found.unary(HEAD, b"")
    found.data_received(frames.frame(frames.GOAWAY, 0, 0, (1).to_bytes(4) + bytes(4)))
    assert not found.usable
    assert found.why == ""
    found.data_received(message(1, b"x") + end(1))

    assert await waiting == b"x"
    assert found.why == "the server has gone away"


async def test_what_is_asked_at_once_is_written_at_once() -> None:
    found, transport = made()
    await transport.flushed()
    for number in range(3):
        found.unary(HEAD, b"%d" % number)
    before = len(transport.written)
    whole = await transport.flushed()

    assert len(transport.written) == before + 1
    assert [whole.count(b"/a"), whole[-1:]] == [3, b"2"]


async def test_questions_for_signs_of_life_are_answered_after_a_while_and_not_with_each_call() -> None:
    found, transport = made()
    await transport.flushed()
    before = len(transport.written)
    ask = frames.frame(frames.PING, 0, 0, b"12345678")
    says = frames.frame(frames.PING, frames.ACK, 0, b"12345678")
    found.data_received(ask)
    found.unary(HEAD, b"q")
    assert says not in await transport.flushed()

    async with asyncio.timeout(30):
        while transport.written[-1] != says:
            await asyncio.sleep(0.001)
    assert len(transport.written) == before + 2
