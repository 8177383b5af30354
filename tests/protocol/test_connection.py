"""What clients of all sorts see of a connection: the bytes, over loopback."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
import uvloop
from aiohttp import web

from kybern.apiserver.connection import Requests, Whole

LATE = 5.0


async def handle(request: web.BaseRequest) -> web.StreamResponse | Whole:
    if request.raw_path == "/stream":
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        return Whole(500, [], b"broken") if request.method == "POST" else response
    if request.raw_path == "/fails":
        raise RuntimeError("on purpose")
    if request.raw_path == "/unread":
        return Whole(413, [("Content-Type", "text/plain")], b"too much")
    if request.raw_path == "/gone":
        cast("Any", request.transport).abort()
        while request.transport is not None:
            await asyncio.sleep(0)
    body = await request.read()
    return Whole(200, [("Content-Type", "text/plain")], request.raw_path.encode() + b" " + body)


class Client:
    def __init__(self, port: int) -> None:
        self._port = port

    async def says(self, *parts: bytes, ends: bool = False) -> bytes:
        """What comes back for these pieces, until the server closes or is silent for a moment."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        found = b""
        with contextlib.suppress(TimeoutError):
            while chunk := await asyncio.wait_for(reader.read(1 << 16), LATE if ends else 0.1):
                found += chunk
            found += b"<closed>"
        writer.close()
        return found


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Client]:
    requests = Requests(cast("Any", handle), access_log=None)
    server = await asyncio.get_running_loop().create_server(requests, "127.0.0.1", 0)
    try:
        yield Client(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await requests.shutdown(0.1)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Client], Awaitable[None]]], None]:
    """Runs a conversation with a server, on either loop."""

    def run(talk: Callable[[Client], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with serving() as client:
                await talk(client)

        (uvloop.run if request.param == "uvloop" else asyncio.run)(whole())

    return run


type Run = Callable[[Callable[[Client], Awaitable[None]]], None]


def bodies(answer: bytes) -> list[bytes]:
    """Of answers one after the other, by their Content-Length."""
    found = []
    while answer.startswith(b"HTTP/1."):
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        found.append(rest[:length])
        answer = rest[length:]
    assert answer in (b"", b"<closed>"), answer
    return found


def test_a_connection_serves_one_request_after_the_other(run: Run) -> None:
    async def talk(client: Client) -> None:
        whole = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz"
        found = await client.says(
            b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", whole, b"GET /c HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        assert bodies(found) == [b"/a ", b"/b xyz", b"/c "]
        head = found.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert head[:2] == [b"HTTP/1.1 200 OK", b"Content-Type: text/plain"]
        assert any(line.startswith(b"Date: ") and line.endswith(b" GMT") for line in head)

    run(talk)


@pytest.mark.parametrize("count", [2, 30])
def test_requests_that_come_in_one_piece_are_answered_in_order(run: Run, count: int) -> None:
    async def talk(client: Client) -> None:
        found = await client.says(
            b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % at for at in range(count))
        )
        assert bodies(found) == [b"/%d " % at for at in range(count)]

    run(talk)


def test_a_body_may_come_later_and_other_requests_after_it(run: Run) -> None:
    async def talk(client: Client) -> None:
        found = await client.says(
            b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nxy",
            b"zxyz",
            b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"0\r\n\r\nGET /d HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        assert bodies(found) == [b"/a ", b"/b xyzxyz", b"/c abc", b"/d "]

    run(talk)


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ],
)
def test_who_wants_one_answer_only_gets_one_and_an_end(run: Run, asked: bytes) -> None:
    async def talk(client: Client) -> None:
        found = await client.says(asked, ends=True)
        assert bodies(found) == [b"/a "]
        assert found.endswith(b"<closed>")

    run(talk)


def test_what_is_no_http_gets_400_and_an_end(run: Run) -> None:
    async def talk(client: Client) -> None:
        found = await client.says(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", b"nonsense\r\n\r\n", ends=True)
        assert found.startswith(b"HTTP/1.1 200 OK")
        assert b"HTTP/1.0 400 Bad Request" in found
        assert found.endswith(b"<closed>")

    run(talk)


def test_a_stream_that_fails_ends_with_its_connection(run: Run) -> None:
    async def talk(client: Client) -> None:
        good = await client.says(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        assert good.endswith(b"5\r\nbegun\r\n0\r\n\r\n")
        bad = await client.says(b"POST /stream HTTP/1.1\r\nHost: h\r\n\r\n", ends=True)
        assert b"broken" not in bad
        assert not bad.endswith(b"0\r\n\r\n<closed>")
        assert bad.endswith(b"<closed>")

    run(talk)


def test_a_handler_that_fails_is_answered_with_500(run: Run) -> None:
    async def talk(client: Client) -> None:
        found = await client.says(b"GET /fails HTTP/1.1\r\nHost: h\r\n\r\n", ends=True)
        assert b" 500 Internal Server Error" in found.partition(b"\r\n")[0]

    run(talk)


def test_a_body_that_nobody_reads_does_not_become_a_request(run: Run) -> None:
    async def talk(client: Client) -> None:
        begun = b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n"
        found = await client.says(begun, b"GET /evil HTTP/1.1\r\nHost: h\r\n\r\n" + b"x" * 8)
        assert bodies(found.removesuffix(b"<closed>")) == [b"too much"]

    run(talk)


def test_a_client_that_goes_before_its_answer_leaves_no_error(run: Run) -> None:
    async def talk(client: Client) -> None:
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))

        with contextlib.suppress(ConnectionError):
            await client.says(b"GET /gone HTTP/1.1\r\nHost: h\r\n\r\n", ends=True)

        gc.collect()
        assert not problems

    run(talk)


def test_a_header_of_two_lines_is_not_sent() -> None:
    with pytest.raises(ValueError, match="more than one line"):
        Whole(200, [("Warning", "a\r\nSet-Cookie: b")], b"").packed()


def test_a_method_that_nobody_knows_is_not_allowed(run: Run) -> None:
    async def talk(client: Client) -> None:
        found = await client.says(b"BOGUS /api HTTP/1.1\r\nHost: x\r\n\r\n", ends=True)

        assert found.startswith(b"HTTP/1.0 405 ")
        assert b'"reason":"MethodNotAllowed"' in found
        assert found.endswith(b"<closed>")

    run(talk)
