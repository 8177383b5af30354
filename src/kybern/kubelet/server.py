"""What the kubelet serves on :10250: logs of containers, connections into them, its pods, metrics, a summary of use.

Everything but health is behind ``access.Access``.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from kybern.api.core_v1 import ContainerStatus
from kybern.daemon import health
from kybern.kubelet import logs
from kybern.kubelet.access import Access
from kybern.kubelet.agent import Agent
from kybern.kubelet.connect import Connects
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.figures import Figures
from kybern.kubelet.node_logs import NodeLogs
from kybern.kubelet.parts import containers
from kybern.kubelet.runtime import Instance
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.worker import Worker
from kybern.machinery.struct import encode, replace

log = logging.getLogger(__name__)


class NoLog(Exception):
    """There is no such log; the message is upstream's."""


class Server:
    """The handlers; ``application`` gives aiohttp's application."""

    def __init__(
        self,
        agent: Agent,
        here: Surroundings,
        access: Access,
        checks: Mapping[str, health.Check],
        figures: Figures,
    ) -> None:
        self._figures = figures
        self._agent = agent
        self._here = here
        self._access = access
        self._checks = checks

    def application(self) -> web.Application:
        app = health.application(self._checks, self._access.guard, open_health=False, metrics_here=False)
        app.router.add_get("/pods", self._pods)
        app.router.add_get("/pods/", self._pods)
        app.router.add_get("/runningpods/", self._running)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._figures.routes(app)
        NodeLogs().routes(app)
        Connects(self._agent, self._here.runtime).routes(app)
        return app

    async def _pods(self, _request: web.Request) -> web.Response:
        items = [
            msgspec.json.decode(encode(replace(worker.pod, status=worker.status)))
            for worker, _task in self._agent.workers.values()
        ]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _running(self, _request: web.Request) -> web.Response:
        found = await self._here.runtime.all()
        items = [
            {"metadata": {"name": name, "namespace": namespace, "uid": uid}}
            for uid, (_mark, namespace, name) in found.items()
        ]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    # -- logs ------------------------------------------------------------------------------------------------------

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        worker = self._agent.find(where["namespace"], where["pod"])
        if worker is None:
            return web.Response(status=404, text=f'pod "{where["pod"]}" not found\n')
        name = where["container"]
        try:
            options = logs.options_of(request.query, logs.now())
            instance = self._instance(worker, name, previous=options.previous)
        except (NoLog, logs.BadOptions) as problem:
            return web.Response(status=400, text=str(problem))
        path = Path(instance.log_path)
        if not await asyncio.to_thread(path.exists):
            return web.Response(status=404, text=f"failed to try resolving symlinks in path {path}\n")
        chunks = logs.read(path, options, self._still_running(worker, instance))
        return await self._stream(request, chunks)

    def _instance(self, worker: Worker, name: str, *, previous: bool) -> Instance:
        pod = worker.pod
        if all(found.name != name for found, _init in containers(pod)):
            raise NoLog(f"container {name} is not valid for pod {pod.metadata.name}")
        runs = worker.actual.runs(name)
        if previous:
            if len(runs) < 2:
                state = _status(worker, name)
                last = state.last_state.terminated if state is not None and state.last_state else None
                # In CrashLoopBackOff the only run there is counts as the one before.
                waiting = state.state.waiting if state is not None and state.state else None
                if runs and last is not None and waiting is not None:
                    return runs[0]
                raise NoLog(f'previous terminated container "{name}" in pod "{pod.metadata.name}" not found')
            return runs[1]
        if not runs:
            raise NoLog(self._why_none(worker, name))
        return runs[0]

    def _why_none(self, worker: Worker, name: str) -> str:
        pod = worker.pod.metadata.name
        status = _status(worker, name)
        waiting = status.state.waiting if status is not None and status.state is not None else None
        match waiting.reason if waiting is not None else "":
            case "ErrImagePull" | "ImagePullBackOff" as reason:
                kind = (
                    "image can't be pulled"
                    if reason == "ErrImagePull"
                    else "trying and failing to pull image"
                )
                return f'container "{name}" in pod "{pod}" is waiting to start: {kind}'
            case "":
                return f'container "{name}" in pod "{pod}" is not available'
            case reason:
                return f'container "{name}" in pod "{pod}" is waiting to start: {reason}'

    def _still_running(self, worker: Worker, instance: Instance) -> Callable[[], Any]:
        async def running() -> bool:
            found = next((run for run in worker.actual.instances if run.id == instance.id), None)
            return found is not None and found.running

        return running

    async def _stream(self, request: web.Request, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        try:
            async for chunk in chunks:
                await answer.write(chunk)
            await answer.write_eof()
        except (ConnectionError, RuntimeFailure) as problem:
            log.debug("a log was read no further: %s", problem)
        return answer


def _status(worker: Worker, name: str) -> ContainerStatus | None:
    every = (
        *worker.status.init_container_statuses,
        *worker.status.container_statuses,
        *worker.status.ephemeral_container_statuses,
    )
    return next((status for status in every if status.name == name), None)


def _json(body: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
