"""The log of a container, passed through from the kubelet of its node as it comes."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from kybern.apiserver import messages, problems
from kybern.apiserver.audit.begun import begun
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import current
from kybern.apiserver.messages import Messages
from kybern.apiserver.route import Target
from kybern.apiserver.subresources.log_options import to_kubelet
from kybern.machinery.errors import REASONS, ApiError, BadRequest, InternalError, ServiceUnavailable
from kybern.machinery.kind import Raw

_CONNECT = 10.0
PORT = 10250


@dataclass(slots=True)
class Kubelets:
    """How to reach the kubelets: one HTTP session with the server's client certificate."""

    session: aiohttp.ClientSession
    preferred: Sequence[str] = ("Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP")
    scheme: str = "https"
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None

    def base(self, node: Raw) -> str:
        """The URL of a node's kubelet. Raises InternalError for a node without an address."""
        status = node.get("status") or {}
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or PORT
        given = {one.get("type"): one.get("address") for one in reversed(status.get("addresses") or [])}
        for kind in self.preferred:
            if given.get(kind):
                host = str(given[kind])
                return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        shown = ", ".join(self.preferred)
        raise InternalError(f"no preferred addresses found; known addresses: {list(given)}, wanted: {shown}")


def container_of(pod: Raw, wanted: str) -> str:
    """The container whose log is meant. Raises BadRequest."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    first = [one["name"] for one in spec.get("containers") or ()]
    every = [
        one["name"]
        for key in ("initContainers", "containers", "ephemeralContainers")
        for one in spec.get(key) or ()
    ]
    if wanted:
        if wanted not in every:
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    chosen = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    if chosen in first and len(every) == 1:
        return str(chosen)
    if len(every) == 1:
        return str(every[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(first)}]"
    others = [one["name"] for one in spec.get("initContainers") or ()]
    if others:
        text += f" or one of the init containers: [{' '.join(others)}]"
    raise BadRequest(text)


class Logs:
    """Answers ``pods/NAME/log``."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    async def __call__(self, call: Call, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        if target.verb != "get" or call.kind.plural != "pods":
            raise problems.not_allowed()
        params = to_kubelet(call.name, call.query)
        pod = (await current.read(call)).raw
        container = container_of(pod, call.query.get("container", ""))
        node_name = pod["spec"].get("nodeName") or ""
        if not node_name:
            return web.Response(content_type="text/plain")
        node = await call.engine.lookup.get("", "nodes", "", node_name)
        if node is None:
            raise problems.not_found(_nodes(call), node_name)
        path = f"/containerLogs/{call.namespace}/{call.name}/{container}"
        return await self.passed(request, self._kubelets.base(node) + path, params)

    async def passed(
        self, request: web.BaseRequest, url: str, params: Mapping[str, str]
    ) -> web.StreamResponse:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
        try:
            async with self._kubelets.session.get(url, params=params, timeout=timeout) as found:
                if found.status != 200:
                    raise _refused(found.status, await found.text())
                if messages.wanted(request):
                    begun(request, 101)
                    told = await Messages.open(request)
                    async for chunk in found.content.iter_any():
                        await told.write(chunk)
                    return await told.close()
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                begun(request, 200)
                await response.prepare(request)
                async for chunk in found.content.iter_any():
                    await response.write(chunk)
                return response
        except aiohttp.ClientConnectorError as problem:
            raise ServiceUnavailable(f"Get {url!r}: {problem}") from problem


def _nodes(call: Call) -> Any:
    return call.engine.table.kind("", "nodes")


def _refused(status: int, text: str) -> ApiError:
    """The kubelet's refusal as the client's."""
    by_code = {400: "BadRequest", 403: "Forbidden", 404: "NotFound", 401: "Unauthorized"}
    return REASONS[by_code.get(status, "InternalError")](text.strip() or f"the kubelet answered {status}")
