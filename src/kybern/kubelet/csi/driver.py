"""One storage driver, by gRPC on its unix socket. Every call has a timeout; every failure is a ``CannotMount``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import csi_pb2 as pb
from kybern._proto import csi_pb2_grpc as rpc
from kybern.kubelet.volumes.plugin import CannotMount

_PATIENCE = 120.0
STAGES, STATISTICS, EXPANDS, MANY_WRITERS, GROUPS = 1, 2, 3, 5, 6
"""What a driver may be able to do (CSI's NodeServiceCapability)."""


@dataclass(frozen=True, slots=True)
class Info:
    """Where the driver sees this node. ``most`` volumes may be attached; 0 is any number."""

    node: str
    most: int = 0
    topology: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Use:
    """How a volume is to be used, and what the driver needs to know for it."""

    handle: str
    capability: Any
    read_only: bool = False
    published: dict[str, str] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Growth:
    """A volume that is to have ``size`` bytes, and where it is."""

    handle: str
    where: Path
    staged: Path | None
    size: int
    capability: Any
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


class Refused(CannotMount):
    """The driver's word; ``code`` is gRPC's, as upstream spells it."""

    def __init__(self, code: str, text: str | None) -> None:
        super().__init__(f"rpc error: code = {code} desc = {text}")
        self.code = code


class Driver:
    """A connection for each call: drivers come and go, and calls are rare."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self.endpoint = endpoint
        self._abilities: frozenset[int] | None = None

    async def _call(self, method: str, request: Any) -> Any:
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(f"unix://{self.endpoint}", options=options) as channel:
            try:
                return await getattr(rpc.NodeStub(channel), method)(request, timeout=_PATIENCE)
            except grpc.aio.AioRpcError as problem:
                spoken = "".join(part.capitalize() for part in problem.code().name.split("_"))
                raise Refused(spoken, problem.details()) from problem

    async def info(self) -> Info:
        answer = await self._call("NodeGetInfo", pb.NodeGetInfoRequest())
        return Info(answer.node_id, answer.max_volumes_per_node, dict(answer.accessible_topology.segments))

    async def abilities(self) -> frozenset[int]:
        if self._abilities is None:
            answer = await self._call("NodeGetCapabilities", pb.NodeGetCapabilitiesRequest())
            self._abilities = frozenset(found.rpc.type for found in answer.capabilities)
        return self._abilities

    async def stage(self, use: Use, where: Path) -> None:
        request = pb.NodeStageVolumeRequest(
            volume_id=use.handle, staging_target_path=str(where), volume_capability=use.capability,
            publish_context=use.published, volume_context=use.context, secrets=use.secrets,
        )  # fmt: skip
        await self._call("NodeStageVolume", request)

    async def publish(self, use: Use, where: Path, staged: Path | None) -> None:
        request = pb.NodePublishVolumeRequest(
            volume_id=use.handle, target_path=str(where), volume_capability=use.capability, readonly=use.read_only,
            publish_context=use.published, volume_context=use.context, secrets=use.secrets,
            staging_target_path=str(staged) if staged is not None else "",
        )  # fmt: skip
        await self._call("NodePublishVolume", request)

    async def unpublish(self, handle: str, where: Path) -> None:
        request = pb.NodeUnpublishVolumeRequest(volume_id=handle, target_path=str(where))
        await self._call("NodeUnpublishVolume", request)

    async def unstage(self, handle: str, where: Path) -> None:
        request = pb.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=str(where))
        await self._call("NodeUnstageVolume", request)

    async def expand(self, wanted: Growth) -> None:
        request = pb.NodeExpandVolumeRequest(
            volume_id=wanted.handle, volume_path=str(wanted.where), volume_capability=wanted.capability,
            staging_target_path=str(wanted.staged) if wanted.staged is not None else "",
            capacity_range=pb.CapacityRange(required_bytes=wanted.size), secrets=wanted.secrets,
        )  # fmt: skip
        await self._call("NodeExpandVolume", request)

    async def statistics(self, handle: str, where: Path, staged: Path | None) -> Any:
        """CSI's NodeGetVolumeStatsResponse."""
        request = pb.NodeGetVolumeStatsRequest(
            volume_id=handle,
            volume_path=str(where),
            staging_target_path=str(staged) if staged is not None else "",
        )
        return await self._call("NodeGetVolumeStats", request)
