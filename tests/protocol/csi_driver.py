"""A storage driver in this process: volumes are directories below one, staged by nothing, published by binds."""

import base64
import os
import shutil
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import csi_pb2 as pb
from kybern._proto import csi_pb2_grpc as rpc
from kybern._proto import pluginregistration_pb2 as reg
from kybern._proto import pluginregistration_pb2_grpc as reg_rpc
from kybern.kubelet.volumes import kernel

NAME = "tests.kybern.example"


@dataclass
class Volumes(rpc.NodeServicer):  # type: ignore[misc]  # generated
    """``calls`` is what was asked: method, handle, request. ``refuse`` makes a method fail with a text.

    ``device`` is what all volumes of mode Block are.
    """

    store: Path
    abilities: tuple[int, ...] = (1,)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    code: grpc.StatusCode = grpc.StatusCode.INTERNAL
    device: Path = Path("/dev/null")
    most: int = 9
    """How many volumes the node takes."""

    async def _asked(self, method: str, request: Any, context: Any) -> Path:
        self.calls.append((method, request.volume_id, request))
        if method in self.refuse:
            await context.abort(self.code, self.refuse[method])
        return self.store / str(request.volume_id)

    def asked(self, *methods: str) -> list[str]:
        return [method for method, _handle, _request in self.calls if method in methods or not methods]

    def request(self, method: str) -> Any:
        return next(request for called, _handle, request in self.calls if called == method)

    async def NodeGetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        topology = pb.Topology(segments={"topology.tests.kybern.example/node": "here"})
        return pb.NodeGetInfoResponse(
            node_id="node-7", max_volumes_per_node=self.most, accessible_topology=topology
        )

    async def NodeGetCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.NodeGetCapabilitiesResponse(
            capabilities=[
                pb.NodeServiceCapability(rpc=pb.ServiceCapability(type=kind)) for kind in self.abilities
            ]
        )

    async def NodeStageVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        (await self._asked("stage", request, context)).mkdir(parents=True, exist_ok=True)
        return pb.NodeStageVolumeResponse()

    async def NodePublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        source, target = await self._asked("publish", request, context), Path(request.target_path)
        if request.volume_capability.WhichOneof("access_type") == "block":
            if not target.exists():
                os.mknod(target, 0o600 | stat.S_IFBLK, self.device.stat().st_rdev)
            return pb.NodePublishVolumeResponse()
        source.mkdir(parents=True, exist_ok=True)
        target.mkdir(parents=True, exist_ok=True)
        if not kernel.is_mounted(target):
            kernel.mount(str(source), target, "none", ("bind", *(("ro",) if request.readonly else ())))
        return pb.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._asked("unpublish", request, context)
        kernel.unmount(Path(request.target_path))
        target = Path(request.target_path)
        if target.is_block_device():
            target.unlink()
        shutil.rmtree(target, ignore_errors=True)
        return pb.NodeUnpublishVolumeResponse()

    async def NodeUnstageVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._asked("unstage", request, context)
        return pb.NodeUnstageVolumeResponse()

    async def NodeGetVolumeStats(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._asked("statistics", request, context)
        size = pb.VolumeUsage(total=1000, used=300, available=700, unit=1)
        return pb.NodeGetVolumeStatsResponse(
            usage=(size, pb.VolumeUsage(total=50, used=2, available=48, unit=2))
        )

    async def NodeExpandVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._asked("expand", request, context)
        return pb.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)


@dataclass
class Registration:
    endpoint: str
    told: list[tuple[bool, str]] = field(default_factory=list)
    versions: tuple[str, ...] = ("1.0.0",)

    async def GetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return reg.PluginInfo(
            type="CSIPlugin", name=NAME, endpoint=self.endpoint, supported_versions=self.versions
        )

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.told.append((request.plugin_registered, request.error))
        return reg.RegistrationStatusResponse()


@asynccontextmanager
async def driver(root: Path, **more: Any) -> AsyncIterator[tuple[Volumes, Registration]]:
    """The driver of a kubelet whose --root-dir is ``root``; its sockets go when the block ends."""
    registry, own = root / "plugins_registry", root / "plugins" / NAME
    for directory in (registry, own):
        directory.mkdir(parents=True, exist_ok=True)
    endpoint, socket = own / "csi.sock", registry / f"{NAME}-reg.sock"
    volumes, registration = Volumes(root.parent / "csi-store", **more), Registration(str(endpoint))
    server = grpc.aio.server()
    rpc.add_NodeServicer_to_server(volumes, server)
    reg_rpc.add_RegistrationServicer_to_server(registration, server)
    server.add_insecure_port(f"unix://{endpoint}")
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    try:
        yield volumes, registration
    finally:
        await server.stop(1)
        for path in (endpoint, socket):
            path.unlink(missing_ok=True)


def encoded(values: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
