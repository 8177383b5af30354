"""Proxies: whatever is sent below ``pods/NAME/proxy``, ``services/NAME/proxy`` or ``nodes/NAME/proxy`` goes there.

NAME may be ``[SCHEME:]NAME[:PORT]``. What holds: only a node's kubelet sees this server's certificate; certificates of what
is behind a proxy are not verified, since nobody says by whom they are issued.
"""

from aiohttp import web

from kybern.apiserver import metrics, problems
from kybern.apiserver.engine import Call
from kybern.apiserver.passing import places
from kybern.apiserver.passing.find import Finder, There
from kybern.apiserver.passing.forward import Backend, NoUpgrade, Unreached, forward
from kybern.apiserver.passing.ways import Ways
from kybern.apiserver.route import Target
from kybern.apiserver.subresources import connect
from kybern.auth.certificates import ProxyHeaders
from kybern.daemon import upgrade
from kybern.machinery.errors import BadRequest, ServiceUnavailable

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Proxies:
    """Answers ``proxy`` of all three kinds. ``identity`` says by which fields front proxies speak for users."""

    def __init__(self, finder: Finder, ways: Ways, identity: ProxyHeaders) -> None:
        self._finder = finder
        self._ways = ways
        self._identity = identity

    async def __call__(self, call: Call, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        if not self._finder.knows(call.kind.plural) or request.method not in _METHODS:
            raise problems.not_allowed()
        path = places.below(target.tail, request.path)
        options = {
            "kind": f"{call.kind.kind}ProxyOptions",
            "apiVersion": "v1",
            **({"path": path} if path else {}),
        }
        await connect.admit(call, options)
        wanted = places.place(call.name)
        if wanted is None:
            raise BadRequest(f'invalid {call.kind.singular} request "{call.name}"')
        there = await self._finder.find(call, wanted)
        if not path and request.method in ("GET", "HEAD") and not upgrade.wanted(request.headers):
            return _with_slash(request)
        with metrics.longrunning("CONNECT", call).track_inprogress():
            return await self._forwarded(request, there, path)

    async def _forwarded(self, request: web.BaseRequest, there: There, path: str) -> web.StreamResponse:
        kubelets, ways = self._ways.kubelets, self._ways
        backend = Backend(
            kubelets.session if there.kubelet else ways.behind,
            (kubelets.tls if there.kubelet else None) or ways.unverified,
            there.scheme,
            there.host,
            there.port,
            path,
            prefix=request.path.removesuffix(path),
            identity=self._identity,
        )
        try:
            return await forward(request, backend)
        except Unreached as problem:
            raise ServiceUnavailable(f"error trying to reach service: {problem}") from problem
        except NoUpgrade as problem:
            raise problems.Unexpected(str(problem)) from problem


def _with_slash(request: web.BaseRequest) -> web.Response:
    """Links of a page lead nowhere unless its own path ends with a slash."""
    path, mark, query = request.raw_path.partition("?")
    return web.Response(status=301, headers={"Location": f"{path}/{mark}{query}"})
