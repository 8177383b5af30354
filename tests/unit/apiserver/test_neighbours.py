"""ComponentStatus of the daemons beside the server: well, not well, and not there."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kybern.apiserver import neighbours
from kybern.apiserver.answer import Many
from kybern.apiserver.answers import Components
from kybern.apiserver.neighbours import Unwell
from kybern.daemon import health
from kybern.daemon.tls import self_signed, server_context


def broken() -> None:
    raise OSError("no etcd")


async def served(app: web.Application, directory: Path) -> TestServer:
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=server_context(*self_signed(("localhost",), directory), ""))
    return server


async def test_one_that_is_well_is_told_so(tmp_path: Path) -> None:
    server = await served(health.application({}), tmp_path)
    try:
        await neighbours.checks({"scheduler": server.port or 0})["scheduler"]()
    finally:
        await server.close()


async def test_one_that_is_not_says_why(tmp_path: Path) -> None:
    server = await served(health.application({"etcd": broken}), tmp_path)
    try:
        with pytest.raises(Unwell, match=r"\[-\]etcd failed: reason withheld"):
            await neighbours.checks({"scheduler": server.port or 0})["scheduler"]()
    finally:
        await server.close()


async def test_one_that_is_not_there_is_told_in_upstream_s_words(call: Any) -> None:
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        found = await Components(neighbours.checks({"scheduler": port})).list(
            call("componentstatuses", namespace=""),
            None,  # type: ignore[arg-type]  # nothing was sent
        )

    assert isinstance(found, Many)
    (item,) = found.items
    assert json.loads(item)["conditions"] == [
        {
            "type": "Healthy",
            "status": "False",
            "message": f'Get "https://127.0.0.1:{port}/healthz": dial tcp 127.0.0.1:{port}: connect: connection refused',
        }
    ]
