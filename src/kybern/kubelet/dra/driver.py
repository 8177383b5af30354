"""One driver of devices, by gRPC on its unix socket (DRAPlugin). Every call has a timeout; a failure is a CannotPrepare."""

import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from prometheus_client import Histogram

from kybern._proto import dra_health_pb2 as health_pb
from kybern._proto import dra_health_pb2_grpc as health_rpc
from kybern._proto import dra_pb2 as pb
from kybern.kubelet.dra.claims import CannotPrepare, Device, Prepared
from kybern.kubelet.dra.health import DEFAULT_TIMEOUT, HEALTHY, UNHEALTHY, UNKNOWN, Told, shortened

# Upstream's defaultClientCallTimeout.
_PATIENCE = 45.0
_PACKAGE = "k8s.io.kubelet.pkg.apis.dra"
VERSIONS = ("v1", "v1beta1")
"""The versions that are spoken, best first; their messages are the same on the wire."""
_SECONDS = Histogram(
    "dra_grpc_operations_duration_seconds",
    "Duration in seconds of the DRA gRPC operations",
    ["driver_name", "method_name", "grpc_status_code"],
)


_HEALTH = {health_pb.HEALTHY: HEALTHY, health_pb.UNHEALTHY: UNHEALTHY}
_OPTIONS = [("grpc.default_authority", "localhost")]


class SaysNothing(Exception):
    """A driver that does not tell of the health of its devices."""


def version(offered: Iterable[str]) -> str:
    """The version to speak with a driver that offers such as v1.DRAPlugin; empty for none."""
    names = set(offered)
    return next((one for one in VERSIONS if f"{one}.DRAPlugin" in names), "")


@dataclass(frozen=True, slots=True)
class Driver:
    """A connection for each call: drivers come and go, and calls are rare."""

    name: str
    endpoint: str
    version: str

    async def prepare(self, claims: Iterable[Prepared]) -> dict[str, tuple[Device, ...]]:
        """Make claims usable; the devices of each, by its uid. Raises CannotPrepare."""
        asked = {one.uid: one for one in claims}
        request = pb.NodePrepareResourcesRequest(claims=[_claim(one) for one in asked.values()])
        answer = await self._call("NodePrepareResources", request, pb.NodePrepareResourcesResponse)
        self._all_well("NodePrepareResources", asked, answer.claims)
        return {
            uid: tuple(
                Device(tuple(d.request_names), d.pool_name, d.device_name, tuple(d.cdi_device_ids), self.name)
                for d in found.devices
            )
            for uid, found in answer.claims.items()
        }

    async def unprepare(self, claims: Iterable[Prepared]) -> None:
        """Take claims back; also such as are not known any more. Raises CannotPrepare."""
        asked = {one.uid: one for one in claims}
        request = pb.NodeUnprepareResourcesRequest(claims=[_claim(one) for one in asked.values()])
        answer = await self._call("NodeUnprepareResources", request, pb.NodeUnprepareResourcesResponse)
        self._all_well("NodeUnprepareResources", asked, answer.claims)

    async def health(self) -> AsyncIterator[dict[tuple[str, str], Told]]:
        """What is told of devices, by pool and name, each time that it is told: there is no end to it while all is well.

        Raises SaysNothing, and CannotPrepare when the driver is gone.
        """
        try:
            async with grpc.aio.insecure_channel(f"unix://{self.endpoint}", options=_OPTIONS) as channel:
                stub = health_rpc.DRAResourceHealthStub(channel)
                async for answer in stub.NodeWatchResources(health_pb.NodeWatchResourcesRequest()):
                    now = time.monotonic()
                    yield {(d.device.pool_name, d.device.device_name): _told(d, now) for d in answer.devices}
        except grpc.aio.AioRpcError as problem:
            if problem.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise SaysNothing(self.name) from problem
            text = f"NodeWatchResources: rpc error: code = {_spoken(problem)} desc = {problem.details()}"
            raise CannotPrepare(text) from problem

    def _all_well(self, method: str, asked: dict[str, Prepared], answers: Any) -> None:
        for uid, answer in answers.items():
            if uid not in asked:
                raise CannotPrepare(f"{method} returned result for unknown claim UID {uid}")
            if answer.error:
                raise CannotPrepare(f"{method} failed for ResourceClaim {asked[uid].name}: {answer.error}")
        left = len(asked) - len(answers)
        if left:
            raise CannotPrepare(f"{method} skipped {left} ResourceClaims")

    async def _call(self, method: str, request: Any, answer: Any) -> Any:
        path = f"/{_PACKAGE}.{self.version}.DRAPlugin/{method}"
        since, code = time.monotonic(), "OK"
        try:
            async with grpc.aio.insecure_channel(f"unix://{self.endpoint}", options=_OPTIONS) as channel:
                ask = channel.unary_unary(
                    path,
                    request_serializer=type(request).SerializeToString,
                    response_deserializer=answer.FromString,
                )
                return await ask(request, timeout=_PATIENCE)
        except grpc.aio.AioRpcError as problem:
            code = _spoken(problem)
            raise CannotPrepare(f"{method}: rpc error: code = {code} desc = {problem.details()}") from problem
        finally:
            _SECONDS.labels(self.name, path, code).observe(time.monotonic() - since)


def _spoken(problem: grpc.aio.AioRpcError) -> str:
    """A code as Go writes it."""
    return "".join(part.capitalize() for part in problem.code().name.split("_"))


def _told(of: Any, now: float) -> Told:
    seconds = of.health_check_timeout_seconds
    until = now + (seconds if seconds > 0 else DEFAULT_TIMEOUT)
    return Told(_HEALTH.get(of.health, UNKNOWN), shortened(of.message), until)


def _claim(of: Prepared) -> Any:
    return pb.Claim(namespace=of.namespace, uid=of.uid, name=of.name)
