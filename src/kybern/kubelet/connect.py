"""/exec, /attach and /portForward: upgrades that are passed to the runtime's streaming server on this machine.

The runtime hands out a URL that is good for one connection; what speaks there is between the client and the runtime, but for
WebSockets that no runtime speaks: these are brought onto SPDY here, as upstream's kubelet does (ExtendWebSocketsToKubelet).
"""

from collections.abc import Iterator
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Container
from kybern.daemon import sockets, upgrade
from kybern.kubelet.agent import Agent
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.parts import containers
from kybern.kubelet.worker import Worker

# By which parameters an API server asks for streams; the API's own names are understood, too.
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error"}
_CODES = {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429}


class NotSo(Exception):
    """Why a request cannot be met: a status and upstream's text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def streams(query: MultiMapping[str], *, tty: bool | None = None) -> dict[str, bool]:
    """Which streams are wanted; a terminal has no error stream of its own. Raises NotSo. Pure."""
    found = {name: query.get(asked, query.get(name)) == "1" for name, asked in _STREAMS.items()}
    found["tty"] = query.get("tty") == "1" if tty is None else tty
    if found["tty"]:
        found["stderr"] = False
    if not (found["stdin"] or found["stdout"] or found["stderr"]):
        raise NotSo(400, "you must specify at least 1 of stdin, stdout, stderr")
    return found


def ports(query: MultiMapping[str], *, required: bool) -> tuple[int, ...]:
    """The ports of a WebSocket's channels; SPDY names them later. Raises NotSo. Pure."""
    if not required:
        return ()
    values = query.getall("port", [])
    if not values:
        raise NotSo(400, 'query parameter "port" is required')
    return tuple(_ports(values))


def _ports(values: list[str]) -> Iterator[int]:
    for value in values:
        if not value:
            raise NotSo(400, 'query parameter "port" cannot be empty')
        for part in value.split(","):
            if not part.isdigit() or int(part) > 65535:
                raise NotSo(400, f'unable to parse "{value}" as a port')
            if int(part) < 1:
                raise NotSo(400, f'port "{value}" must be > 0')
            yield int(part)


class Connects:
    """The handlers."""

    def __init__(self, agent: Agent, runtime: Runtime) -> None:
        self._agent = agent
        self._runtime = runtime

    def routes(self, app: web.Application) -> None:
        for method in ("GET", "POST"):
            for middle in ("", "/{uid}"):
                where = f"/{{namespace}}/{{pod}}{middle}"
                app.router.add_route(method, f"/exec{where}/{{container}}", self._exec)
                app.router.add_route(method, f"/attach{where}/{{container}}", self._attach)
                app.router.add_route(method, f"/portForward{where}", self._forward)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        async def asked() -> tuple[str, Any]:
            wanted = streams(request.query)
            identity, _spec = await self.container(request)
            command = request.query.getall("command", [])
            return "Exec", pb.ExecRequest(container_id=identity, cmd=command, **wanted)

        return await self._answered(request, asked)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        async def asked() -> tuple[str, Any]:
            streams(request.query)
            identity, spec = await self.container(request)
            # A process has a terminal or not from its beginning.
            wanted = streams(request.query, tty=bool(spec.tty))
            return "Attach", pb.AttachRequest(container_id=identity, **wanted)

        return await self._answered(request, asked)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        async def asked() -> tuple[str, Any]:
            # A tunnel names its ports later, as SPDY does.
            numbers = ports(
                request.query, required=_socket(request) and not _translated(request, tunnel=True)
            )
            worker = self.worker(request)
            if not _is_meant(request, worker):
                raise NotSo(404, "pod not found")
            sandbox = (await self._runtime.actual(worker.pod.metadata.uid)).ready_sandbox
            if sandbox is None:
                raise NotSo(500, f'pod not found ("{_shown(request)}")')
            return "PortForward", pb.PortForwardRequest(pod_sandbox_id=sandbox.id, port=numbers)

        return await self._answered(request, asked)

    async def _answered(self, request: web.Request, asked: Any) -> web.StreamResponse:
        try:
            method, message = await asked()
            _check(request)
            tunnel = method == "PortForward"
            translated = _translated(request, tunnel=tunnel)
            url = str((await self._runtime.call(method, message)).url)
            if translated:
                answer = await upgrade.ask(url, "POST", sockets.as_spdy(tunnel=tunnel), None)
            else:
                answer = await upgrade.ask(url, request.method, tuple(request.headers.items()), None)
        except NotSo as refusal:
            return web.Response(status=refusal.status, text=str(refusal))
        except RuntimeFailure as problem:
            return web.Response(status=_CODES.get(problem.code, 500), text=str(problem))
        except upgrade.Unreachable as problem:
            return web.Response(status=500, text=f"error dialing backend: {problem}")
        except upgrade.Refused as refused:
            return web.Response(status=refused.status, text=refused.text, content_type=refused.media)
        return await (_carried(request, answer, message) if translated else upgrade.pass_on(request, answer))

    def worker(self, request: web.Request) -> Worker:
        where = request.match_info
        worker = self._agent.find(where["namespace"], where["pod"])
        if worker is None:
            raise NotSo(404, "pod does not exist")
        return worker

    async def container(self, request: web.Request) -> tuple[str, Container]:
        """The run of a container that is going on. Raises NotSo."""
        worker, name = self.worker(request), request.match_info["container"]
        if not _is_meant(request, worker):
            raise NotSo(500, f'container not found ("{name}")')
        found: Any = next((one for one, _init in containers(worker.pod) if one.name == name), None)
        run = (await self._runtime.actual(worker.pod.metadata.uid)).here(name) if found is not None else None
        if run is None or not run.running:
            raise NotSo(500, f'container not found ("{name}")')
        return run.id, found


def _is_meant(request: web.Request, worker: Worker) -> bool:
    """Whether a request that names a uid means this pod, and not one before it of the same name."""
    uid = worker.pod.metadata.uid
    return request.match_info.get("uid", uid) == uid


def _socket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _translated(request: web.Request, *, tunnel: bool) -> bool:
    offered = upgrade.protocols(tuple(request.headers.items()))
    return _socket(request) and sockets.translated(offered, tunnel=tunnel)


async def _carried(request: web.Request, answer: upgrade.Answer, message: Any) -> web.StreamResponse:
    """Bring a WebSocket onto the streams that the runtime answers with; ``message`` is what it was asked."""
    there = upgrade.streams(answer)
    if isinstance(message, pb.PortForwardRequest):
        return await sockets.tunnel(request, there)
    wanted = frozenset(name for name in (*_STREAMS, "tty") if getattr(message, name))
    return await sockets.command(request, there, wanted)


def _check(request: web.Request) -> None:
    if not upgrade.wanted(request.headers):
        raise NotSo(400, "Upgrade request required")


def _shown(request: web.Request) -> str:
    return f"{request.match_info['pod']}_{request.match_info['namespace']}"
