"""The port on which a daemon tells its own machine how it is."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from kybern.daemon import local
from kybern.daemon.flags import Flags
from kybern.daemon.health import Check
from kybern.daemon.run import Fatal

FLAGS = local.flag(Flags("tested", "Is tested."), 10999)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@asynccontextmanager
async def served(address: str, checks: dict[str, Check]) -> AsyncIterator[asyncio.Task[None]]:
    values = FLAGS.read([f"--metrics-bind-address={address}"])
    task = asyncio.create_task(local.serve(FLAGS, values, checks))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def asked(port: int, path: str) -> tuple[int, str]:
    """Tried until somebody listens."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, await answer.text()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)


def ill() -> None:
    raise OSError("no rules")


async def test_metrics_and_health_and_flags_are_told() -> None:
    port = free_port()
    async with served(f"127.0.0.1:{port}", {"sync": ill}):
        status, text = await asked(port, "/metrics")
        assert (status, "process_cpu_seconds_total" in text) == (200, True)
        assert (await asked(port, "/healthz"))[0] == 500
        assert f"metrics-bind-address: 127.0.0.1:{port}" in (await asked(port, "/flagz"))[1].replace(
            "=", ": "
        )


async def test_a_port_that_is_taken_stops_nothing_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local, "_AGAIN", 0.01)
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        async with served(f"127.0.0.1:{port}", {}) as task:
            while not caplog.records:
                await asyncio.sleep(0.01)
            assert f"cannot serve metrics on 127.0.0.1:{port}" in caplog.text
            assert not task.done()
            taken.close()
            assert (await asked(port, "/healthz"))[0] == 200


async def test_nothing_is_served_where_nobody_wants_it() -> None:
    async with served("", {}) as task:
        await task


async def test_what_is_no_address_is_named() -> None:
    with pytest.raises(Fatal, match='"here": give an address and a port'):
        async with served("here", {}) as task:
            await task
