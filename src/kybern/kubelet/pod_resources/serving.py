"""The socket at which programs of the node ask what pods have.

What holds: only root can reach the socket; whoever asks too often is refused (upstream's 100 a second, 10 at once), so that
a program that went wild does not keep the kubelet from its pods.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from prometheus_client import Counter, Gauge

from kybern._proto import podresources_pb2 as pb
from kybern._proto import podresources_pb2_grpc as rpc
from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.devices.ledger import Given
from kybern.kubelet.dra.claims import CannotPrepare, Prepared
from kybern.kubelet.memory.ledger import Block
from kybern.kubelet.pod_resources.told import Near, allocatable, as_alpha, pod_resources
from kybern.kubelet.surroundings import Surroundings

log = logging.getLogger(__name__)

_RATE, _BURST = 100.0, 10
_VERSION, _ALPHA = "v1", "v1alpha1"
_REQUESTS = Counter(
    "kubelet_pod_resources_endpoint_requests",
    "Cumulative number of requests to the PodResource endpoint. Broken down by server api version.",
    ["server_api_version"],
)


def _counted(what: str, method: str, shown: str) -> Gauge:
    """Upstream's names of these end in no _total, which the library gives every Counter: they only go up all the same."""
    return Gauge(
        f"kubelet_pod_resources_endpoint_{what}_{method}",
        f"Number of requests to the PodResource {shown} endpoint"
        f"{'' if what == 'requests' else ' which returned error'}. Broken down by server api version.",
        ["server_api_version"],
    )


_METHODS = {"List": "list", "GetAllocatableResources": "get_allocatable", "Get": "get"}
_EACH = {shown: _counted("requests", name, shown) for shown, name in _METHODS.items()}
_ERRORS = {shown: _counted("errors", name, shown) for shown, name in _METHODS.items()}


class Limiter:
    """So many at once, and so many more each second."""

    def __init__(
        self, rate: float = _RATE, burst: int = _BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = float(burst), clock()

    def allow(self) -> bool:
        now = self._clock()
        self._left = min(float(self._burst), self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Limited(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # the library has no types
    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        if self._limiter.allow():
            return await continuation(details)

        async def refuse(_request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")

        return grpc.unary_unary_rpc_method_handler(refuse)


@dataclass(frozen=True, slots=True)
class _Held:
    """What the node gave, from those who gave it."""

    here: Surroundings

    def cpus(self, uid: str, container: str) -> Iterable[int]:
        return self.here.cpus.own(uid, container)

    def memory(self, uid: str, container: str) -> Iterable[Block]:
        return self.here.memory.blocks(uid, container)

    def devices(self, uid: str, container: str) -> Iterable[Given]:
        return self.here.devices.of(uid, container)

    def claims(self, pod: Pod, container: Container) -> Iterable[Prepared]:
        with contextlib.suppress(CannotPrepare):
            return self.here.claims.seen(pod, container)
        return ()

    def near(self) -> Near:
        return self.here.devices.plugins.near()


class PodResources:
    """``pods`` gives those that are not over. ``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, here: Surroundings, pods: Callable[[], Iterable[Pod]]) -> None:
        self._here = here
        self._held = _Held(here)
        self._pods = pods
        self.socket = Path(here.volumes.root) / "pod-resources" / "kubelet.sock"

    async def run(self) -> None:
        await asyncio.to_thread(self._clear)
        server = grpc.aio.server(interceptors=[_Limited(Limiter())])
        rpc.add_PodResourcesListerServicer_to_server(self, server)
        server.add_generic_rpc_handlers((self._alpha(),))
        try:
            server.add_insecure_port(f"unix://{self.socket}")
        except RuntimeError as problem:
            # A path that is too long for a socket, say: pods do not need it.
            log.warning("cannot listen at %s: %s", self.socket, problem)
            return
        try:
            await server.start()
            await asyncio.to_thread(self.socket.chmod, 0o600)
            await asyncio.Event().wait()
        finally:
            await server.stop(None)

    def _alpha(self) -> Any:
        """The older version, which has one call only."""
        listing = grpc.unary_unary_rpc_method_handler(
            self._list_alpha,
            request_deserializer=pb.ListPodResourcesRequest.FromString,
            response_serializer=pb.ListPodResourcesResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(f"{_ALPHA}.PodResourcesLister", {"List": listing})

    async def _list_alpha(self, _request: Any, _context: Any) -> Any:
        _REQUESTS.labels(_ALPHA).inc()
        return pb.ListPodResourcesResponse(
            pod_resources=[as_alpha(pod_resources(pod, self._held)) for pod in self._pods()]
        )

    def _clear(self) -> None:
        self.socket.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802  # the name of the call
        _count("List")
        return pb.ListPodResourcesResponse(
            pod_resources=[pod_resources(pod, self._held) for pod in self._pods()]
        )

    async def GetAllocatableResources(self, request: Any, context: Any) -> Any:  # noqa: N802  # the name of the call
        _count("GetAllocatableResources")
        here = self._here
        return allocatable(
            here.cpus.allocatable, here.memory.allocatable(), here.devices.plugins.well(), self._held.near()
        )

    async def Get(self, request: Any, context: Any) -> Any:  # noqa: N802  # the name of the call
        _count("Get")
        wanted = (request.pod_namespace, request.pod_name)
        for pod in self._pods():
            if (pod.metadata.namespace, pod.metadata.name) == wanted:
                return pb.GetPodResourcesResponse(pod_resources=pod_resources(pod, self._held))
        _ERRORS["Get"].labels(_VERSION).inc()
        text = f"pod {request.pod_name} in namespace {request.pod_namespace} not found"
        return await context.abort(grpc.StatusCode.UNKNOWN, text)


def _count(method: str) -> None:
    _REQUESTS.labels(_VERSION).inc()
    _EACH[method].labels(_VERSION).inc()
