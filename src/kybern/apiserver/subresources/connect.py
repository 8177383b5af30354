"""exec, attach and port-forward: upgrades that are passed to the kubelet of the pod's node.

A WebSocket upgrade comes as GET, and running commands is no reading: whoever may ``get`` must be allowed to ``create``,
too. Subprotocols that no runtime speaks are passed on to a kubelet that declares that it brings them onto SPDY
(ExtendWebSocketsToKubelet), and are brought onto it here for others (``daemon.sockets``).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiMapping

from kybern.admission.framework import Request
from kybern.api.declared_features import WEB_SOCKETS
from kybern.apiserver import metrics, problems
from kybern.apiserver.audit.begun import begun
from kybern.apiserver.authorization import Authorization
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import current
from kybern.apiserver.route import Target
from kybern.apiserver.subresources.log import Kubelets
from kybern.auth.attributes import Attributes
from kybern.auth.unsettled import settled
from kybern.daemon import sockets, upgrade
from kybern.machinery.errors import BadRequest, InternalError
from kybern.machinery.kind import Raw

NAMES = ("exec", "attach", "portforward")
# What a client asks with, and what a kubelet is asked with.
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_SPOKEN = tuple(f"{version}{coding}channel.k8s.io" for version in ("", "v4.") for coding in ("", "base64."))
_OPTIONS = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
_FIELDS = ("initContainers", "containers", "ephemeralContainers")


def container_of(pod: Raw, wanted: str) -> str:
    """The container that is meant. Raises BadRequest."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    every = [one["name"] for key in _FIELDS for one in spec.get(key) or ()]
    if wanted:
        if wanted not in every:
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    first = spec.get("containers") or []
    if len(first) == 1:
        return str(first[0]["name"])
    raise BadRequest(
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(every)}]"
        if first
        else f"a container name must be specified for pod {name}"
    )


def parameters(name: str, query: MultiMapping[str]) -> list[tuple[str, str]]:
    """What the kubelet is asked with. Raises BadRequest."""
    if name == "portforward":
        ports = [part for value in query.getall("ports", ()) for part in value.split(",")]
        for port in ports:
            if not port.isdigit():
                raise BadRequest(f'strconv.ParseInt: parsing "{port}": invalid syntax')
        return [("port", ",".join(ports))] if ports else []
    found = [(asked, "1") for key, asked in _STREAMS.items() if _on(query.getall(key, ()))]
    if name == "exec":
        found += [("command", word) for word in query.getall("command", ())]
    return found


def _on(values: Sequence[str]) -> bool:
    return bool(values) and values[0].lower() not in ("false", "0")


def check_protocol(name: str, headers: Mapping[str, str], offered: Sequence[str]) -> None:
    """Raises BadRequest for what cannot be passed on."""
    if not upgrade.wanted(headers):
        raise BadRequest("Upgrade request required")
    if headers["Upgrade"].lower() != "websocket" or not offered:
        return
    if sockets.translated(offered, tunnel=name == "portforward"):
        return
    if not any(one in _SPOKEN and (name != "portforward" or one.startswith("v4.")) for one in offered):
        raise BadRequest(f"unable to upgrade: unsupported protocols {list(offered)}".replace("'", '"'))


class Connects:
    """Answers ``pods/NAME/{exec,attach,portforward}``."""

    def __init__(self, kubelets: Kubelets, authorization: Authorization) -> None:
        self._kubelets = kubelets
        self._authorization = authorization

    async def __call__(self, call: Call, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        if call.kind.plural != "pods" or target.verb not in ("get", "create") or target.tail:
            raise problems.not_allowed()
        if target.verb == "get":
            await settled(partial(self._authorization.check, _creation(call)))
        await admit(call, options_of(call.subresource, request.query))
        pod = (await current.read(call)).raw
        where = _where(call, pod, request.query)
        node = await _node(call, pod)
        url = f"{self._kubelets.base(node)}{where}"
        headers = tuple(request.headers.items())
        offered = upgrade.protocols(headers)
        check_protocol(call.subresource, request.headers, offered)
        tunnel = call.subresource == "portforward"
        socket = (
            request.headers["Upgrade"].lower() == "websocket"
            and sockets.translated(offered, tunnel=tunnel)
            and not translates(node)
        )
        try:
            if socket:
                answer = await upgrade.ask(url, "POST", sockets.as_spdy(tunnel=tunnel), self._kubelets.tls)
            else:
                answer = await upgrade.ask(url, request.method, headers, self._kubelets.tls)
        except upgrade.Unreachable as problem:
            raise InternalError(f"error dialing backend: {problem}") from problem
        except upgrade.Refused as refusal:
            return web.Response(status=refusal.status, text=refusal.text, content_type=refusal.media)
        with metrics.longrunning("CONNECT", call).track_inprogress():
            if not socket:
                return await upgrade.pass_on(request, answer)
            begun(request, 101)
            if tunnel:
                return await sockets.tunnel(request, upgrade.streams(answer))
            wanted = (name for name in _STREAMS if _on(request.query.getall(name, ())))
            return await sockets.command(request, upgrade.streams(answer), frozenset(wanted))


def _where(call: Call, pod: Raw, query: MultiMapping[str]) -> str:
    """What a kubelet is asked for. Raises BadRequest."""
    forward = call.subresource == "portforward"
    container = "" if forward else f"/{container_of(pod, query.get('container', ''))}"
    path = "portForward" if forward else call.subresource
    return f"/{path}/{call.namespace}/{call.name}{container}?{urlencode(parameters(call.subresource, query))}"


async def _node(call: Call, pod: Raw) -> Raw:
    """The node of a pod. Raises BadRequest or NotFound."""
    name = pod["spec"].get("nodeName") or ""
    if not name:
        raise BadRequest(f"pod {call.name} does not have a host assigned")
    node = await call.engine.lookup.get("", "nodes", "", name)
    if node is None:
        kind = call.engine.table.kind("", "nodes")
        assert kind is not None
        raise problems.not_found(kind, name)
    return node


def translates(node: Raw) -> bool:
    """Whether a kubelet takes WebSockets as kubectl speaks them (KEP-4006)."""
    return WEB_SOCKETS in ((node.get("status") or {}).get("declaredFeatures") or ())


def _creation(call: Call) -> Attributes:
    return Attributes(
        call.user, "create", "", "v1", call.kind.plural, call.subresource, call.namespace, call.name
    )


def options_of(name: str, query: MultiMapping[str]) -> Raw:
    """What is asked for as the object that webhooks see: PodExecOptions and its like."""
    found: Raw = {"kind": _OPTIONS[name], "apiVersion": "v1"}
    if name == "portforward":
        ports = [
            int(part) for value in query.getall("ports", ()) for part in value.split(",") if part.isdigit()
        ]
        return {**found, "ports": ports} if ports else found
    found |= {key: True for key in _STREAMS if _on(query.getall(key, ()))}
    if query.get("container"):
        found["container"] = query["container"]
    return {**found, "command": query.getall("command", [])} if name == "exec" else found


async def admit(call: Call, options: Raw) -> None:
    """Ask admission about a connection."""
    engine = call.engine
    request = Request(
        "CONNECT", call.kind, call.namespace, call.name, call.subresource, call.user, options, None, engine.lookup,
        warnings=call.warnings, authorize=engine.authorize, configured=engine.configured,
    )  # fmt: skip
    await engine.chain.mutate(request)
    await engine.chain.validate(request)
