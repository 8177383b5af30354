"""/run and /checkpoint: what is done with a container on request, and answered when it is done."""

import asyncio
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from aiohttp import web

from kybern._proto import cri_pb2 as pb
from kybern.kubelet.connect import Connects, NotSo
from kybern.kubelet.cri import Runtime, RuntimeFailure
from kybern.kubelet.parts import containers
from kybern.kubelet.worker import Worker

# Upstream runs such a command without a limit; nobody waits for it that long.
_PATIENCE = 4 * 3600.0
_CHECKPOINT = 120.0


class Acts:
    """The handlers. ``root`` is the kubelet's directory; ``checkpoints`` whether there may be any."""

    def __init__(self, connects: Connects, runtime: Runtime, root: Path, *, checkpoints: bool) -> None:
        self._connects = connects
        self._runtime = runtime
        self._directory = root / "checkpoints"
        self._checkpoints = checkpoints

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/run/{namespace}/{pod}/{container}", self._run)
        app.router.add_post("/run/{namespace}/{pod}/{uid}/{container}", self._run)
        if self._checkpoints:
            app.router.add_post("/checkpoint/{namespace}/{pod}/{container}", self._checkpoint)

    async def _run(self, request: web.Request) -> web.Response:
        try:
            identity, _spec = await self._connects.container(request)
            words = request.query.get("cmd", "").split(" ")
            code, said = await self._runtime.execute(identity, tuple(words), _PATIENCE)
        except NotSo as refusal:
            return web.Response(status=refusal.status, text=str(refusal))
        except RuntimeFailure as problem:
            return web.Response(status=500, text=str(problem))
        if code:
            shown = said.decode(errors="replace")
            return web.Response(status=500, text=f"command '{' '.join(words)}' exited with {code}: {shown}")
        return web.Response(body=said, content_type="application/json")

    async def _checkpoint(self, request: web.Request) -> web.Response:
        where = request.match_info
        try:
            _named(self._connects.worker(request), where["container"])
            seconds = timeout_of(request.query.getall("timeout", []))
            location = await self._taken(request, seconds)
        except NotSo as refusal:
            return web.Response(status=refusal.status, text=str(refusal))
        except (RuntimeFailure, OSError) as problem:
            name = f"{where['namespace']}/{where['pod']}/{where['container']}"
            return web.Response(status=500, text=f"checkpointing of {name} failed ({problem})")
        return web.Response(body=msgspec.json.encode({"items": [location]}), content_type="application/json")

    async def _taken(self, request: web.Request, seconds: int) -> str:
        """Have the runtime write a checkpoint; its path. Raises RuntimeFailure, OSError."""
        where = request.match_info
        if seconds < 0:
            raise RuntimeFailure("CheckpointContainer requires the timeout value to be > 0")
        try:
            identity, _spec = await self._connects.container(request)
        except NotSo as problem:
            raise RuntimeFailure(f"container {where['container']} not found") from problem
        path = self._directory / file_name(
            where["namespace"], where["pod"], where["container"], datetime.now(UTC)
        )
        await asyncio.to_thread(os.makedirs, self._directory, 0o700, exist_ok=True)
        message = pb.CheckpointContainerRequest(container_id=identity, location=str(path), timeout=seconds)
        await self._runtime.call("CheckpointContainer", message, seconds or _CHECKPOINT)
        return str(path)


def _named(worker: Worker, name: str) -> None:
    if all(found.name != name for found, _init in containers(worker.pod)):
        raise NotSo(404, f"container {name} does not exist")


def file_name(namespace: str, pod: str, container: str, now: datetime) -> str:
    """As upstream names a checkpoint's archive. Pure."""
    return f"checkpoint-{pod}_{namespace}-{container}-{now:%Y-%m-%dT%H:%M:%SZ}.tar"


def timeout_of(values: list[str]) -> int:
    """The last of the parameters in seconds, 0 for none; raises NotSo. Pure."""
    if not values:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", values[-1], re.ASCII):
        raise NotSo(404, "cannot parse value of timeout parameter")
    return int(values[-1])
