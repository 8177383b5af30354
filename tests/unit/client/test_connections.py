"""What is given up is closed at once, whatever the other side does."""

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from kybern.client.kubeconfig import Config
from kybern.client.rest import Client
from kybern.daemon import tls
from kybern.machinery import errors

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n"


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Config]:
    """A server that begins an answer to /begun, none to others, and never answers TLS's farewell."""
    cert, key = tls.self_signed(("127.0.0.1",), tmp_path)
    context = tls.server_context(cert, key)
    over = threading.Event()

    def serve(listening: socket.socket) -> None:
        plain, _ = listening.accept()
        with context.wrap_socket(plain, server_side=True) as accepted:
            if accepted.recv(4096).startswith(b"GET /begun"):
                accepted.sendall(_HEAD)
            over.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield Config(server=f"https://127.0.0.1:{listening.getsockname()[1]}", ca_file=cert)
        over.set()
        thread.join(20)


async def leave_a_stream(config: Config) -> None:
    async with Client(config) as client, client.stream("/begun") as chunks:
        assert await anext(chunks) == b"one\n"


async def run_out_of_time(config: Config) -> None:
    async with Client(config) as client:
        with pytest.raises(errors.Timeout):
            await client.request("GET", "/never", timeout=0.5)


@pytest.mark.parametrize("act", [leave_a_stream, run_out_of_time])
def test_nothing_stays_open_past_the_loop(
    silent: Config, act: Callable[[Config], Coroutine[Any, Any, None]]
) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(act(silent))
        gc.collect()

    assert [str(each.message) for each in seen] == []
