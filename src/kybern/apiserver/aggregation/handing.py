"""Hands a request to the aggregated server that answers for its group and version, and says for whom.

Errors are plain text, as upstream's are: what is wrong is between two servers, and no object of the API is concerned.
"""

from aiohttp import web

from kybern.apiserver.aggregation.lines import Lines
from kybern.apiserver.aggregation.remote import Remote, speaks_for
from kybern.apiserver.passing.forward import Backend, NoUpgrade, Unreached, forward
from kybern.apiserver.services.reach import Address, Objects, Reach
from kybern.auth.certificates import ProxyHeaders
from kybern.auth.user import User
from kybern.machinery.errors import ServiceUnavailable

_UNAVAILABLE = "service unavailable"


class Routes:
    """Where to dial for a Service: an endpoint, or its own address where kube-proxy is trusted to make that work."""

    def __init__(self, objects: Objects, *, endpoints: bool) -> None:
        self._objects = objects
        self._reach = Reach(objects)
        self._endpoints = endpoints

    async def address(self, remote: Remote) -> Address:
        """Raises ServiceUnavailable."""
        namespace, name = remote.namespace, remote.service
        if not self._endpoints:
            found = await self._objects.get("", "services", namespace, name) or {}
            address = (found.get("spec") or {}).get("clusterIP") or "None"
            if address != "None":
                return str(address), remote.port
        return await self._reach.address(namespace, name, remote.port)


class Handing:
    def __init__(self, routes: Routes, lines: Lines, identity: ProxyHeaders) -> None:
        self._routes = routes
        self._lines = lines
        self._identity = identity

    async def __call__(self, request: web.BaseRequest, remote: Remote, user: User) -> web.StreamResponse:
        if not remote.available:
            return _plain(_UNAVAILABLE)
        try:
            host, port = await self._routes.address(remote)
        except ServiceUnavailable:
            return _plain(_UNAVAILABLE)
        try:
            line = self._lines.of(remote.trust)
        except (OSError, ValueError) as problem:
            return _plain(f"cannot use the certificates for {remote.name}: {problem}", 500)
        backend = Backend(
            line.session,
            line.context,
            "https",
            host,
            port,
            request.path,
            name=remote.trust.name,
            identity=self._identity,
            added=speaks_for(user),
        )
        try:
            return await forward(request, backend)
        except Unreached as problem:
            return _plain(f"error trying to reach service: {problem}")
        except NoUpgrade as problem:
            return _plain(str(problem))


def _plain(text: str, code: int = 503) -> web.Response:
    return web.Response(status=code, text=f"{text}\n", headers={"X-Content-Type-Options": "nosniff"})
