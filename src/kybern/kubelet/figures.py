"""The handlers of figures: /stats/summary, /metrics and what lies below it, /configz."""

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import Gauge
from prometheus_client.exposition import choose_encoder

from kybern.daemon import health
from kybern.daemon.zpages import Pages
from kybern.kubelet import numbers
from kybern.kubelet.agent import Agent
from kybern.kubelet.configz import configz
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.probes import metrics as probes
from kybern.kubelet.settings import Settings
from kybern.kubelet.stats import cadvisor, resource
from kybern.kubelet.stats.exposition import Family, text
from kybern.kubelet.stats.measure import Measure
from kybern.kubelet.stats.summary import summary
from kybern.kubelet.stats.use import NodeUse

_TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

_NAME = Gauge("kubelet_node_name", "The node's name. The count is always 1.", ["node"])
_PODS = Gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox")
_CONTAINERS = Gauge(
    "kubelet_running_containers", "Number of containers currently running", ["container_state"]
)
_CLAIM = ["namespace", "persistentvolumeclaim"]

# By claim, once however many pods use it (upstream: volume_stats.go).
_VOLUMES = {
    "capacity": Gauge("kubelet_volume_stats_capacity_bytes", "Capacity in bytes of the volume", _CLAIM),
    "available": Gauge(
        "kubelet_volume_stats_available_bytes", "Number of available bytes in the volume", _CLAIM
    ),
    "used": Gauge("kubelet_volume_stats_used_bytes", "Number of used bytes in the volume", _CLAIM),
    "inodes": Gauge("kubelet_volume_stats_inodes", "Maximum number of inodes in the volume", _CLAIM),
    "inodes_free": Gauge("kubelet_volume_stats_inodes_free", "Number of free inodes in the volume", _CLAIM),
    "inodes_used": Gauge("kubelet_volume_stats_inodes_used", "Number of used inodes in the volume", _CLAIM),
}


class Figures:
    """What is measured, told to who asks."""

    def __init__(self, agent: Agent, measure: Measure, settings: Settings, node: str) -> None:
        self._agent = agent
        self._measure = measure
        self._settings = settings
        self._node = node

    def routes(self, app: web.Application) -> None:
        """What may be read without being known, where the read-only port is open."""
        for method in ("GET", "POST"):
            app.router.add_route(method, "/stats/summary", self._summary)
        app.router.add_get("/metrics", self._own)
        app.router.add_get("/metrics/resource", self._resource)
        app.router.add_get("/metrics/cadvisor", self._cadvisor)
        app.router.add_get("/metrics/probes", self._probes)

    def about(self, app: web.Application) -> None:
        """What the kubelet tells of itself."""
        app.router.add_get("/configz", self._configz)
        # Of /healthz its checks, too; upstream lists what is registered as a path, not as a service.
        paths = (
            "/configz",
            "/debug/flags/v",
            "/flagz",
            "/healthz",
            "/healthz/log",
            "/healthz/ping",
            "/healthz/syncloop",
            "/metrics",
            "/metrics/cadvisor",
            "/metrics/probes",
            "/metrics/resource",
            "/metrics/slis",
            "/statusz",
        )
        health.about(app, Pages("kubelet", self._settings.flags, tuple(sorted(paths)), emulates=False))

    async def _summary(self, request: web.Request) -> web.Response:
        brief = request.query.get("only_cpu_and_memory", "").lower() in ("1", "true")
        try:
            return _json(summary(await self._measure.take(), only_cpu_and_memory=brief))
        except (RuntimeFailure, OSError) as problem:
            return web.Response(status=500, text=f"Internal Error: {problem}\n")

    async def _resource(self, _request: web.Request) -> web.Response:
        found: NodeUse | None
        try:
            found = await self._measure.take()
        except (RuntimeFailure, OSError):
            found = None
        return _text(resource.families(found))

    async def _cadvisor(self, _request: web.Request) -> web.Response:
        try:
            found = await self._measure.take()
            host, counts = await self._measure.count(found)
        except (RuntimeFailure, OSError) as problem:
            return web.Response(status=500, text=f"cannot measure what containers use: {problem}")
        return _text(cadvisor.families(found, host, counts))

    async def _probes(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(probes.REGISTRY), headers={"Content-Type": content_type})

    async def _own(self, request: web.Request) -> web.Response:
        self._count()
        return await health.metrics(request)

    def _count(self) -> None:
        workers = [worker for worker, _task in self._agent.workers.values()]
        runs = [run for worker in workers for run in worker.actual.instances]
        _NAME.labels(self._node).set(1)
        _PODS.set(sum(worker.actual.ready_sandbox is not None for worker in workers))
        states = [run.state.value for run in runs]
        for state in ("created", "running", "exited", "unknown"):
            _CONTAINERS.labels(state).set(states.count(state))
        for name, gauge in _VOLUMES.items():
            gauge.clear()
            for (namespace, claim), use in self._measure.claimed.by_claim():
                if (value := getattr(use, name)) is not None:
                    gauge.labels(namespace, claim).set(value)
        numbers.count_pods(workers)

    async def _configz(self, _request: web.Request) -> web.Response:
        return _json(configz(self._settings))


def _text(families: Iterable[Family]) -> web.Response:
    return web.Response(body=text(families).encode(), headers=_TEXT)


def _json(body: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
