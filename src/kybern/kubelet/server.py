"""What the kubelet serves on :10250: logs of containers, connections into them, its pods, metrics, a summary of use.

Everything is behind ``access.Access``, but on the read-only port, where only pods, figures and health are. Paths, methods
and texts are upstream's (pkg/kubelet/server/server.go).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from kybern.api.core_v1 import ContainerStatus
from kybern.daemon import health
from kybern.kubelet import debugging, gates, logs
from kybern.kubelet.acts import Acts
from kybern.kubelet.agent import Agent
from kybern.kubelet.connect import Connects
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.figures import Figures
from kybern.kubelet.node_logs import NodeLogs
from kybern.kubelet.parts import containers
from kybern.kubelet.runtime import Instance
from kybern.kubelet.settings import Settings
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.worker import Worker
from kybern.machinery.struct import encode, replace

log = logging.getLogger(__name__)


class NoLog(Exception):
    """There is no such log; the message is upstream's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The handlers; ``application`` gives aiohttp's application."""

    def __init__(
        self,
        agent: Agent,
        here: Surroundings,
        figures: Figures,
        settings: Settings,
        checks: Mapping[str, health.Check],
    ) -> None:
        self._figures = figures
        self._agent = agent
        self._here = here
        self._settings = settings
        self._checks = checks

    def application(self, guard: health.Guard) -> web.Application:
        """Everything, for those whom the guard lets pass."""
        app = self._readable(guard)
        if not self._settings.debugging:
            debugging.switched_off(app)
            return app
        settings = self._settings
        app.router.add_get("/runningpods/", self._running, allow_head=False)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs, allow_head=False)
        debugging.routes(app, profiling=settings.profiling, flags=settings.debug_flags)
        if settings.system_logs:
            NodeLogs(queries=settings.log_query).routes(app)
        else:
            debugging.no_logs(app)
        connects = Connects(self._agent, self._here.runtime)
        connects.routes(app)
        checkpoints = gates.enabled(settings.gates, "ContainerCheckpoint")
        Acts(connects, self._here.runtime, Path(settings.root_dir), checkpoints=checkpoints).routes(app)
        self._figures.about(app)
        return app

    def read_only(self) -> web.Application:
        """What may be read without being known."""
        app = self._readable(None)
        debugging.switched_off(app)
        return app

    def _readable(self, guard: health.Guard | None) -> web.Application:
        app = health.application(
            self._checks, guard, open_health=False, metrics_here=False, paths=("healthz",)
        )
        for path in ("/pods", "/pods/"):
            app.router.add_get(path, self._pods, allow_head=False)
        self._figures.routes(app)
        return app

    async def _pods(self, _request: web.Request) -> web.Response:
        return _pod_list(
            msgspec.json.decode(encode(replace(worker.pod, status=worker.status)))
            for worker, _task in self._agent.workers.values()
        )

    async def _running(self, _request: web.Request) -> web.Response:
        """Pods of which something runs, with what runs of them, by the runtime's word."""
        return _pod_list(running(worker) for worker, _task in self._agent.workers.values() if _runs(worker))

    # -- logs ------------------------------------------------------------------------------------------------------

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        try:
            options = asked(request.query)
            worker = self._worker(request)
            instance = self._instance(worker, request.match_info["container"], previous=options.previous)
        except NoLog as problem:
            return web.Response(status=problem.status, text=str(problem))
        path = Path(instance.log_path)
        if not await asyncio.to_thread(path.exists):
            text = (
                f'failed to try resolving symlinks in path "{path}": lstat {path}: no such file or directory'
            )
            return web.Response(status=400, text=text)
        chunks = logs.read(path, options, self._still_running(worker, instance))
        return await self._stream(request, chunks)

    def _worker(self, request: web.Request) -> Worker:
        where = request.match_info
        worker, name = self._agent.find(where["namespace"], where["pod"]), where["container"]
        if worker is None:
            raise NoLog(f'pod "{where["pod"]}" does not exist', 404)
        if all(found.name != name for found, _init in containers(worker.pod)):
            raise NoLog(f'container "{name}" not found in pod "{where["pod"]}"', 404)
        return worker

    def _instance(self, worker: Worker, name: str, *, previous: bool) -> Instance:
        pod = worker.pod
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


def asked(query: Mapping[str, str]) -> logs.Options:
    """What of a log is asked for; raises NoLog. Upstream's texts look like JSON, and are sent as text."""
    try:
        options = logs.options_of(compatible(query), logs.now())
    except logs.BadOptions as problem:
        raise NoLog('{"message": "Unable to decode query."}') from problem
    if not options.valid:
        raise NoLog('{"message": "Invalid request."}', 422)
    return options


def compatible(query: Mapping[str, str]) -> Mapping[str, str]:
    """With ``tail`` of old clients as ``tailLines``; "all" is no limit. Pure."""
    tail = query.get("tail", "")
    if not tail:
        return query
    rest = {key: value for key, value in query.items() if key != "tailLines"}
    return rest if tail == "all" else {**rest, "tailLines": tail}


def running(worker: Worker) -> dict[str, Any]:
    """A pod as /runningpods/ tells of it. Pure."""
    meta = worker.pod.metadata
    runs = [run for run in worker.actual.instances if run.running]
    return {
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
        "spec": {"containers": [{"name": run.name, "image": run.image, "resources": {}} for run in runs]},
        "status": {},
    }


def _runs(worker: Worker) -> bool:
    return worker.actual.ready_sandbox is not None or any(run.running for run in worker.actual.instances)


def _pod_list(items: Iterable[Any]) -> web.Response:
    # An empty list is null, as Go writes it.
    return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(items) or None})


def _status(worker: Worker, name: str) -> ContainerStatus | None:
    every = (
        *worker.status.init_container_statuses,
        *worker.status.container_statuses,
        *worker.status.ephemeral_container_statuses,
    )
    return next((status for status in every if status.name == name), None)


def _json(body: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
