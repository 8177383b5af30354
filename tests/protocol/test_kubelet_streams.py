"""WebSockets at the kubelet itself: what it brings onto SPDY, and what it passes to the runtime as it is."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from kybern.client.connections import Connections
from kybern.daemon import sockets
from kybern.daemon.spdy import Session
from tests.protocol.containerd_bed import Bed, clean, needed, one_node
from tests.protocol.test_streams import SERVED, SLEEP, Writer

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

INSECURE = ssl._create_unverified_context()
ECHO = ["sh", "-c", "while read line; do echo got $line; done; sleep 1000"]


class Kubelet:
    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._base = f"https://127.0.0.1:{port}"

    @asynccontextmanager
    async def socket(self, path: str, protocol: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self._session.ws_connect(
            f"{self._base}{path}", protocols=(protocol,), ssl=INSECURE
        ) as found:
            assert found.protocol == protocol
            yield found


@pytest.fixture
async def kubelet(tmp_path_factory: pytest.TempPathFactory, unused_tcp_port: int) -> AsyncIterator[Kubelet]:
    bed = Bed(tmp_path_factory.mktemp("b"), needed())
    bed.start()
    try:
        async with (
            one_node(bed, port=unused_tcp_port) as node,
            aiohttp.ClientSession(connector=Connections()) as session,
        ):
            await node.add(
                "web",
                {"name": "c", "command": SLEEP},
                {"name": "served", "command": SERVED},
                {"name": "echo", "command": ECHO, "stdin": True},
            )
            await node.until("web", lambda pod: pod.status.phase == "Running", 60)
            yield Kubelet(session, unused_tcp_port)
        await clean(bed)
    finally:
        bed.stop()


async def ended(client: aiohttp.ClientWebSocketResponse) -> tuple[dict[int, bytes], Any]:
    """What came by channel until the other side closed, and the Status."""
    got: dict[int, bytes] = {}
    async for message in client:
        got[message.data[0]] = got.get(message.data[0], b"") + message.data[1:]
    return got, json.loads(got.pop(3))


async def test_streams_of_every_version(kubelet: Kubelet) -> None:
    sort = "/exec/default/web/c?command=sort&input=1&output=1&error=1"
    async with kubelet.socket(sort, "v5.channel.k8s.io") as client:
        await client.send_bytes(b"\0b\na\n")
        await client.send_bytes(b"\xff\0")
        got, status = await ended(client)
    assert (got[1], status["status"]) == (b"a\nb\n", "Success")

    fails = "/exec/default/web/c?command=sh&command=-c&command=echo+out;exit+3&output=1"
    for version in ("v5.channel.k8s.io", "v4.channel.k8s.io"):
        async with kubelet.socket(fails, version) as client:
            got, status = await ended(client)
        assert (got[1], status["reason"]) == (b"out\n", "NonZeroExitCode"), version
        assert status["details"]["causes"][0]["message"] == "3"

    async with kubelet.socket(
        "/exec/default/web/c?command=tty&output=1&tty=1", "v5.channel.k8s.io"
    ) as client:
        got, _status = await ended(client)
    assert got[1].startswith(b"/dev/pts/")


async def test_a_running_container_is_attached_to(kubelet: Kubelet) -> None:
    async with kubelet.socket("/attach/default/web/echo?input=1&output=1", "v5.channel.k8s.io") as client:
        await client.send_bytes(b"\0word\n")
        async with asyncio.timeout(20):
            got = b""
            while b"\n" not in got:
                message = await client.receive_bytes()
                got += message[1:] if message[0] == 1 else b""
    assert got == b"got word\n"


async def test_a_tunnel_carries_a_port(kubelet: Kubelet) -> None:
    async with kubelet.socket("/portForward/default/web", sockets.TUNNELS[0]) as client:
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
        got = b""
        async for stream, body, _last in spoken.read():
            if stream == asked and body:
                got = body
                break
        await client.close()
        await task
    assert got == b"pong\n"


async def test_what_cannot_be_is_refused_before_the_upgrade(kubelet: Kubelet) -> None:
    for path, status in (("/exec/default/web/c?command=true", 400), ("/exec/default/none/c?output=1", 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with kubelet.socket(path, "v5.channel.k8s.io"):
                pass
        assert refused.value.status == status
