"""One driver of devices, by gRPC on its unix socket (DRAPlugin). Every call has a timeout; a failure is a CannotPrepare."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from prometheus_client import Histogram

from kybern._proto import dra_pb2 as pb
from kybern.kubelet.dra.claims import CannotPrepare, Device, Prepared

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
        options = [("grpc.default_authority", "localhost")]
        path = f"/{_PACKAGE}.{self.version}.DRAPlugin/{method}"
        since, code = time.monotonic(), "OK"
        try:
            async with grpc.aio.insecure_channel(f"unix://{self.endpoint}", options=options) as channel:
                ask = channel.unary_unary(
                    path,
                    request_serializer=type(request).SerializeToString,
                    response_deserializer=answer.FromString,
                )
                return await ask(request, timeout=_PATIENCE)
        except grpc.aio.AioRpcError as problem:
            code = "".join(part.capitalize() for part in problem.code().name.split("_"))
            raise CannotPrepare(f"{method}: rpc error: code = {code} desc = {problem.details()}") from problem
        finally:
            _SECONDS.labels(self.name, path, code).observe(time.monotonic() - since)


def _claim(of: Prepared) -> Any:
    return pb.Claim(namespace=of.namespace, uid=of.uid, name=of.name)
