"""Logs as messages of a WebSocket."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from kybern.apiserver.subresources.log import Kubelets, Logs

TEXT = b"one\ntwo \xff\n"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that passes on the log of a kubelet."""

    async def kubelet(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=TEXT, content_type="text/plain")

    async with aiohttp.ClientSession() as session:
        logs = Logs(Kubelets(session))
        addresses: list[str] = []

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await logs.passed(request, addresses[0], {})

        servers = [web.Server(kubelet), web.Server(handle)]
        listening = [await asyncio.get_running_loop().create_server(one, "127.0.0.1", 0) for one in servers]
        addresses += [f"http://127.0.0.1:{one.sockets[0].getsockname()[1]}/" for one in listening]
        yield addresses[1]
        for one in listening:
            one.close()
        for server in servers:
            await server.shutdown(1)


@pytest.mark.parametrize(
    ("protocols", "chosen", "kind", "said"),
    [
        ((), None, WSMsgType.BINARY, TEXT),
        (("binary.k8s.io",), "binary.k8s.io", WSMsgType.BINARY, TEXT),
        (("base64.binary.k8s.io",), "base64.binary.k8s.io", WSMsgType.TEXT, "b25lCnR3byD/Cg=="),
    ],
)
async def test_a_log_comes_as_messages_to_who_asks_for_them(
    url: str, protocols: tuple[str, ...], chosen: str | None, kind: WSMsgType, said: bytes | str
) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=protocols) as socket:
        messages = [message async for message in socket]

    assert socket.protocol == chosen
    assert [(message.type, message.data) for message in messages] == [(kind, said)]
    assert socket.close_code == 1000


async def test_all_others_get_text(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url) as found:
        assert (found.status, found.content_type, await found.read()) == (200, "text/plain", TEXT)
