"""Servers that answer probes with what they should not."""

import gzip
from typing import Any, cast

import grpc
import grpc.aio
from aiohttp import web

from kybern._proto import health_pb2 as pb
from kybern._proto import health_pb2_grpc as rpc
from kybern.api.core_v1 import GRPCAction, HTTPGetAction
from kybern.kubelet.cri import Runtime
from kybern.kubelet.probes import grpc as grpc_probe
from kybern.kubelet.probes import http
from kybern.kubelet.probes.target import Outcome, Target
from tests.unit.kubelet.making import container

NOWHERE = cast("Runtime", None)


async def test_nothing_is_unpacked(unused_tcp_port: int) -> None:
    """A few bytes could become more than the node has."""
    bomb, asked = gzip.compress(bytes(64 << 20)), list[Any]()

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers)
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    try:
        action = HTTPGetAction(path="/", port=unused_tcp_port)
        status, text = await http.get(action, Target(NOWHERE, "i", container(), "127.0.0.1", 5.0))
    finally:
        await runner.cleanup()

    assert status == 200
    assert text.encode(errors="ignore")[:1] == bomb[:1]
    assert len(text) <= 10 * 1024
    assert "Accept-Encoding" not in asked[0]


class Odd(rpc.HealthServicer):  # type: ignore[misc]  # generated without types
    async def Check(self, _request: Any, _context: Any) -> Any:  # noqa: N802  # gRPC calls it so
        unknown: Any = 77
        return pb.HealthCheckResponse(status=unknown)


async def test_a_status_that_does_not_exist_is_unhealthy(unused_tcp_port: int) -> None:
    server = grpc.aio.server()
    rpc.add_HealthServicer_to_server(Odd(), server)
    server.add_insecure_port(f"127.0.0.1:{unused_tcp_port}")
    await server.start()
    try:
        target = Target(NOWHERE, "i", container(), "127.0.0.1", 5.0)
        found = await grpc_probe.probe(GRPCAction(port=unused_tcp_port), target)
    finally:
        await server.stop(0)

    assert found == Outcome(False, 'service unhealthy (responded with "77")')
