"""What of the kubelet is served where: health, the port behind authentication, and the port for reading without it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from kybern.client.verbs import Verbs
from kybern.daemon import health, tls
from kybern.kubelet.access import Access, Memory
from kybern.kubelet.agent import Agent
from kybern.kubelet.figures import Figures
from kybern.kubelet.server import Server
from kybern.kubelet.settings import Settings
from kybern.kubelet.stats.measure import Measure
from kybern.kubelet.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class Served:
    """What is told of. ``syncing`` raises when the kubelet does not follow its runtime; ``names``: also addresses."""

    settings: Settings
    agent: Agent
    here: Surroundings
    measure: Measure
    client: Verbs | None
    syncing: health.Check
    names: Callable[[], Iterable[str]]


def servers(what: Served) -> Iterator[Coroutine[Any, Any, None]]:
    """Each runs until cancelled."""
    settings, node = what.settings, what.here.machine.node
    checks: Mapping[str, health.Check] = {"log": lambda: None, "syncloop": what.syncing}
    yield health.serve(settings.healthz_address, settings.healthz_port, checks)
    server = Server(
        what.agent, what.here, Figures(what.agent, what.measure, settings, node), settings, checks
    )
    if settings.read_only_port:
        yield health.serve_application(server.read_only(), settings.address, settings.read_only_port, None)
    if not settings.port or not settings.enable_server:
        return
    access = Access(
        what.client,
        node,
        Memory(settings.allowed_ttl, settings.refused_ttl, settings.token_ttl),
        webhook=settings.authorization == "Webhook",
        tokens=settings.webhook_authentication,
        anonymous=settings.anonymous,
    )
    app = server.application(access.guard)
    if settings.server_bootstrap and what.client is not None:
        # Only where it is asked for: what makes keys costs twelve megabytes.
        from kybern.kubelet import serving_certificate as asked  # noqa: PLC0415

        directory = Path(settings.cert_dir)
        found = asked.ServingCertificate(what.client, lambda: asked.wanted(node, what.names()), directory)
        yield found.run()
        yield _when(found.there, app, settings, str(found.path))
        return
    cert, key = settings.tls_cert, settings.tls_key
    if not cert:
        cert, key = tls.self_signed((node, *what.here.host_ips), Path(settings.cert_dir))
    yield _secured(app, settings, cert, key)


async def _when(there: asyncio.Event, app: web.Application, settings: Settings, pair: str) -> None:
    """Serve once the cluster has signed a certificate."""
    await there.wait()
    await _secured(app, settings, pair, pair)


def _secured(app: web.Application, settings: Settings, cert: str, key: str) -> Coroutine[Any, Any, None]:
    context = tls.server_context(
        cert,
        key,
        settings.client_ca,
        minimum=tls.minimum_version(settings.tls_minimum),
        ciphers=":".join(tls.ciphers(",".join(settings.tls_ciphers))),
    )
    return health.serve_application(app, settings.address, settings.port, context)
