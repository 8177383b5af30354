"""Lifecycle hooks over HTTP: what counts as an answer."""

import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kybern.api.core_v1 import Container, ExecAction, HTTPGetAction, HTTPHeader, LifecycleHandler
from kybern.kubelet import hooks
from kybern.kubelet.cri import Runtime
from tests.unit.kubelet.making import pod

WHO = r'HTTP lifecycle hook \(/x\) for Container "c" in Pod "web_default\(u1\)" failed - error: '


@pytest.fixture
async def asked() -> AsyncIterator[tuple[int, list[Any]]]:
    """A server that finds nothing: its port, and the headers of each request."""
    requests: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request.headers)
        return web.Response(status=404)

    application = web.Application()
    application.router.add_get("/{any:.*}", answer)
    async with TestServer(application) as server:
        assert server.port is not None
        yield server.port, requests


async def get(port: int, **more: Any) -> str:
    handler = LifecycleHandler(http_get=HTTPGetAction(path="/x", port=port, **more))
    return await hooks.run(handler, cast("Runtime", None), pod(), Container(name="c"), "id", "127.0.0.1")


async def test_any_answer_will_do(asked: tuple[int, list[Any]]) -> None:
    port, requests = asked

    assert await get(port) == ""
    assert len(requests) == 1


async def test_who_gives_no_answer_has_failed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(hooks.HookFailed, match=WHO):
            await get(taken.getsockname()[1])


async def test_a_server_that_speaks_http_is_asked_so_without_credentials(
    asked: tuple[int, list[Any]],
) -> None:
    port, requests = asked
    headers = (HTTPHeader(name="Authorization", value="Bearer x"), HTTPHeader(name="X-Own", value="y"))

    said = await get(port, scheme="HTTPS", http_headers=headers)

    text = f"request to HTTPS lifecycle hook 127.0.0.1:{port} got HTTP response, retry with HTTP succeeded"
    assert said == text
    assert requests[0]["X-Own"] == "y"
    assert "Authorization" not in requests[0]


async def test_a_command_that_fails_says_what_it_printed_in_the_status() -> None:
    class Fake:
        async def execute(
            self, _instance: str, _command: tuple[str, ...], _seconds: float
        ) -> tuple[int, bytes]:
            return 3, b"no such thing"

    handler = LifecycleHandler(exec=ExecAction(command=("sh", "-c", "x")))

    with pytest.raises(hooks.HookFailed) as raised:
        await hooks.run(handler, cast("Runtime", Fake()), pod(), Container(name="c"), "id", "")

    assert str(raised.value) == (
        'Exec lifecycle hook ([sh -c x]) for Container "c" in Pod "web_default(u1)" failed - error: '
        "command 'sh -c x' exited with 3: , message: \"no such thing\""
    )
