"""WebSockets of v5 and tunnels of port-forward, brought onto the SPDY of a real containerd."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kybern._proto import cri_pb2 as pb
from kybern.client.connections import Connections
from kybern.daemon import sockets, upgrade
from kybern.daemon.spdy import Session
from tests.protocol.containerd_bed import Bed, OneNode, clean, needed, one_node

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]
SLEEP = ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]
SERVED = ["sh", "-c", "while :; do echo pong | nc -l -p 8080; done"]


@pytest.fixture
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OneNode]:
    bed = Bed(tmp_path_factory.mktemp("b"), needed())
    bed.start()
    try:
        async with one_node(bed) as found:
            await found.add("web", {"name": "c", "command": SLEEP}, {"name": "served", "command": SERVED})
            await found.until("web", lambda pod: pod.status.phase == "Running")
            yield found
        await clean(bed)
    finally:
        bed.stop()


type Carry = Callable[[web.BaseRequest, sockets.Streams], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def socket(
    url: str, spoken: str, protocol: str, carry: Carry
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A client's WebSocket to a server that carries it to ``url``."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        fields = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", spoken)]
        answer = await upgrade.ask(url, "POST", fields, None)
        return await carry(request, upgrade.streams(answer))

    server = web.Server(handle)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        async with (
            aiohttp.ClientSession(connector=Connections()) as session,
            session.ws_connect(f"http://127.0.0.1:{port}/", protocols=(protocol,)) as found,
        ):
            assert found.protocol == protocol
            yield found
    finally:
        listening.close()
        await server.shutdown(1)


async def run(
    node: OneNode, command: list[str], said: bytes = b"", **wanted: bool
) -> tuple[dict[int, bytes], Any]:
    """What a command writes by channel, and the Status that ends it."""
    found = node.pod("web")
    assert found is not None
    status = next(one for one in found.status.container_statuses if one.name == "c")
    identity = status.container_id.partition("://")[2]
    url = (await node.runtime.call("Exec", pb.ExecRequest(container_id=identity, cmd=command, **wanted))).url

    async def carry(request: web.BaseRequest, streams: sockets.Streams) -> web.StreamResponse:
        return await sockets.command(request, streams, frozenset(name for name, on in wanted.items() if on))

    got: dict[int, bytes] = {}
    async with socket(url, sockets.COMMAND_STREAMS, sockets.COMMAND, carry) as client:
        if said:
            await client.send_bytes(b"\0" + said)
            await client.send_bytes(b"\xff\0")
        async for message in client:
            got[message.data[0]] = got.get(message.data[0], b"") + message.data[1:]
    return got, json.loads(got.pop(3))


async def test_a_command_sees_the_end_of_its_input(node: OneNode) -> None:
    got, status = await run(node, ["sort"], b"b\na\n", stdin=True, stdout=True, stderr=True)
    assert (got[1], status["status"]) == (b"a\nb\n", "Success")

    got, status = await run(node, ["sh", "-c", "echo out; echo err >&2; exit 3"], stdout=True, stderr=True)
    assert (got[1], got[2]) == (b"out\n", b"err\n")
    cause = status["details"]["causes"][0]
    assert (status["reason"], cause["reason"], cause["message"]) == ("NonZeroExitCode", "ExitCode", "3")

    got, status = await run(node, ["tty"], stdout=True, tty=True)
    assert got[1].startswith(b"/dev/pts/")

    big = b"x" * 1_000_000
    got, status = await run(node, ["wc", "-c"], big, stdin=True, stdout=True)
    assert got[1].strip() == b"1000000"


async def test_a_tunnel_carries_a_port_of_the_pod(node: OneNode) -> None:
    pod = node.pod("web")
    assert pod is not None
    sandbox = (await node.runtime.actual(pod.metadata.uid)).ready_sandbox
    assert sandbox is not None
    url = (await node.runtime.call("PortForward", pb.PortForwardRequest(pod_sandbox_id=sandbox.id))).url
    async with socket(url, sockets.TUNNEL_STREAMS, sockets.TUNNELS[0], sockets.tunnel) as client:
        reader = asyncio.StreamReader()

        async def feed() -> None:
            async for message in client:
                reader.feed_data(message.data)
            reader.feed_eof()

        task = asyncio.create_task(feed())
        spoken = Session(reader, Writer(client))
        fields = {"port": "8080", "requestID": "0"}
        await spoken.open({"streamType": "error", **fields})
        asked = await spoken.open({"streamType": "data", **fields})
        async for stream, body, _last in spoken.read():
            if stream == asked and body:
                assert body == b"pong\n"
                break
        else:
            raise AssertionError("nothing came")
        await client.close()
        await task


class Writer:
    """A WebSocket as something that a session writes to."""

    def __init__(self, client: aiohttp.ClientWebSocketResponse) -> None:
        self._client = client
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> None:
        self._parts.append(part)

    async def drain(self) -> None:
        parts, self._parts = self._parts, []
        for part in parts:
            await self._client.send_bytes(part)

    def close(self) -> None:
        return
