"""healthCheckNodePort: where load balancers outside the cluster ask whether this node has endpoints of a service.

A service of type LoadBalancer with externalTrafficPolicy Local has such a port. It answers 200 while pods of this node are
ready and the proxy is up to date, else 503, in upstream's form (pkg/proxy/healthcheck/service_health.go). Pods that end do
not count, though they may still be asked: so balancers go elsewhere before the last of them is gone (KEP-1669).
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from kybern.api.core_v1 import ObjectReference
from kybern.proxy.model import ServicePort
from kybern.proxy.places import EVERYWHERE, Places
from kybern.proxy.ruleset import Key

LOG = logging.getLogger(__name__)

type Tell = Callable[[ObjectReference, str, str, str], None]
"""Writes an event: about what, its type, reason and message."""


@dataclass(slots=True)
class Answer:
    """What one port tells. ``endpoints`` counts those of this node."""

    service: Key
    endpoints: int = 0

    def value(self, *, healthy: bool) -> dict[str, object]:
        namespace, name = self.service
        return {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": self.endpoints,
            "serviceProxyHealthy": healthy,
        }


def wanted(services: Mapping[Key, tuple[ServicePort, ...]]) -> dict[int, Answer]:
    """Which ports have to answer, and what. Pure."""
    found = {}
    for service, ports in services.items():
        if ports and ports[0].health_check_port:
            here = {one.ip for port in ports for one in port.endpoints if one.local and one.ready}
            found[ports[0].health_check_port] = Answer(service, len(here))
    return found


class HealthPorts:
    """The servers of those ports. ``close`` ends them; ``is_healthy`` says whether the proxy is up to date.

    ``places`` are the addresses at which node ports answer.
    """

    def __init__(self, node: str, tell: Tell, is_healthy: Callable[[], bool], places: Places) -> None:
        self._node, self._tell, self.is_healthy, self._places = node, tell, is_healthy, places
        self._at: tuple[str, ...] = (EVERYWHERE,)
        self._answers: dict[int, Answer] = {}
        self._running: dict[int, web.AppRunner] = {}

    async def serve(self, services: Mapping[Key, tuple[ServicePort, ...]]) -> None:
        """Open, close and answer as the services ask. A port that cannot be opened is told as an event, once."""
        before, self._answers = self._answers, wanted(services)
        if self._answers and (at := await self._places.now()) != self._at:
            await self.close()
            self._at = at
        for port in [port for port in self._running if port not in self._answers]:
            await self._running.pop(port).cleanup()
        for port, answer in self._answers.items():
            new = port not in before or before[port].service != answer.service
            if port not in self._running:
                await self._open(port, answer, loud=new)

    async def close(self) -> None:
        for runner in self._running.values():
            await runner.cleanup()
        self._running.clear()

    async def _open(self, port: int, answer: Answer, *, loud: bool) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handler(port))
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            for address in self._at:
                await web.TCPSite(runner, address or None, port).start()
        except OSError as problem:
            await runner.cleanup()
            if loud:
                self._complain(port, answer, problem)
            return
        self._running[port] = runner

    def _complain(self, port: int, answer: Answer, problem: OSError) -> None:
        namespace, name = answer.service
        title = f"{namespace}/{name}"
        said = f'node {self._node} failed to start healthcheck "{title}" on port {port}: {problem}'
        LOG.error("%s", said)
        about = ObjectReference(kind="Service", namespace=namespace, name=name, uid=title)
        self._tell(about, "Warning", "FailedToStartServiceHealthcheck", said)

    def _handler(self, port: int) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            told, healthy = self._answers[port], self.is_healthy()
            return web.json_response(
                told.value(healthy=healthy),
                status=200 if told.endpoints and healthy else 503,
                # What balancers that weigh their nodes go by.
                headers={
                    "X-Content-Type-Options": "nosniff",
                    "X-Load-Balancing-Endpoint-Weight": str(told.endpoints),
                },
            )

        return answer
