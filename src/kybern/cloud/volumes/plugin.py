"""What the kubelet asks of a node: devices found, formatted, mounted, shown to pods, and grown.

    staging path (kubelet's)   the file system, mounted once a node        volumeMode Filesystem
    target path (kubelet's)    a bind of that, or of the device itself     volumeMode Block

Needs neither the API server nor the cloud. Every call may come twice, and after a kill at any point.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import csi_pb2 as pb
from kybern.cloud.volumes import devices
from kybern.cloud.volumes.names import DRIVER, FS_TYPES
from kybern.csi.serving import (
    CONTROLLER,
    FINER_MODES,
    GROWTH,
    PLACED,
    STAGES,
    STATISTICS,
    About,
    Wrong,
    given,
    shown,
)
from kybern.csi.serving import Plugin as Served
from kybern.daemon import file_systems, mounts, programs
from kybern.daemon.file_systems import Run, Unusable
from kybern.daemon.programs import CannotRun

ABOUT = About(DRIVER, (CONTROLLER, PLACED), (STAGES, STATISTICS, GROWTH, FINER_MODES))
MOST = 24
"""Volumes that a machine can be given."""
_BYTES, _FILES = 1, 2


class Plugin(Served):
    """Node of one node. ``root`` is where the system's /dev and /sys are."""

    def __init__(self, node: str, kubelet: Path, run: Run = programs.run, root: Path = Path("/")) -> None:
        super().__init__(ABOUT, kubelet)
        self._node = node
        self._run = run
        self._root = root

    async def NodeGetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802  # names of the wire
        # No topology: the node's zone is a label that cloud-controller-manager writes, and no kubelet may.
        return pb.NodeGetInfoResponse(node_id=self._node, max_volumes_per_node=MOST)

    async def NodeStageVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.awaited(context, _told(self._stage(request)))
        return pb.NodeStageVolumeResponse()

    async def NodeUnstageVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.done(context, lambda: self._unstage(request))
        return pb.NodeUnstageVolumeResponse()

    async def NodePublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.done(context, lambda: self._publish(request))
        return pb.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.done(context, lambda: self._unpublish(request))
        return pb.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self.done(context, lambda: self._statistics(request))

    async def NodeExpandVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self.awaited(context, _told(self._expand(request)))

    async def _stage(self, request: Any) -> None:
        given(request, "volume_id", "volume_capability")
        staging, asked = self.target(request.staging_target_path), request.volume_capability
        device = await asyncio.to_thread(devices.find, request.publish_context, self._root)
        number = await asyncio.to_thread(devices.number, device)
        if asked.WhichOneof("access_type") == "block":
            return
        kind = asked.mount.fs_type or FS_TYPES[0]
        if kind not in FS_TYPES:
            raise Wrong(
                grpc.StatusCode.INVALID_ARGUMENT, f'file system "{kind}" is not one of {", ".join(FS_TYPES)}'
            )
        options = tuple(asked.mount.mount_flags)
        await asyncio.to_thread(devices.grown, device)
        if not await asyncio.to_thread(_has, staging, number, request.volume_id):
            await file_systems.prepare(self._run, device, kind, options)
            if "ro" not in options:
                # What was made larger while nobody had it, or of a smaller snapshot.
                await file_systems.grow_unmounted(self._run, device)
            # A copy has the UUID of what it is a copy of, which may be mounted here, too: xfs refuses that.
            own = ("nouuid",) if kind == "xfs" else ()
            await asyncio.to_thread(_mount, device, staging, kind, (*options, *own))
        if kind == "xfs" and "ro" not in options:
            await file_systems.grow_mounted(self._run, device, staging)

    def _unstage(self, request: Any) -> None:
        given(request, "volume_id")
        mounts.unmount(self.target(request.staging_target_path))

    def _publish(self, request: Any) -> None:
        given(request, "volume_id", "volume_capability")
        if not request.staging_target_path:
            raise Wrong(grpc.StatusCode.FAILED_PRECONDITION, "staging_target_path is missing")
        target, asked = self.target(request.target_path), request.volume_capability
        read_only = ("ro",) if request.readonly else ()
        if asked.WhichOneof("access_type") == "block":
            device = devices.find(request.publish_context, self._root)
            if shown(target) is not None and devices.number(target) == devices.number(device):
                return
            mounts.unmount(target)
            target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            target.touch(mode=0o660)
            _bind(device, target, read_only)
            return
        staging = self.target(request.staging_target_path)
        staged = shown(staging)
        if staged is None:
            raise Wrong(
                grpc.StatusCode.FAILED_PRECONDITION, f"volume {request.volume_id} is not at {staging}"
            )
        if _has(target, staged.device, request.volume_id):
            return
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
        _bind(staging, target, read_only)

    def _unpublish(self, request: Any) -> None:
        given(request, "volume_id")
        target = self.target(request.target_path)
        mounts.unmount(target)
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)

    def _statistics(self, request: Any) -> Any:
        given(request, "volume_id")
        path = self.target(request.volume_path)
        if path.is_block_device():
            return pb.NodeGetVolumeStatsResponse(
                usage=(pb.VolumeUsage(total=devices.grown(path), unit=_BYTES),)
            )
        if shown(path) is None:
            raise Wrong(grpc.StatusCode.NOT_FOUND, f"volume {request.volume_id} is not at {path}")
        found = os.statvfs(path)
        size, free = found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize
        left = found.f_bavail * found.f_frsize
        files = found.f_files - found.f_ffree
        return pb.NodeGetVolumeStatsResponse(
            usage=(
                pb.VolumeUsage(total=size, used=size - free, available=left, unit=_BYTES),
                pb.VolumeUsage(total=found.f_files, used=files, available=found.f_favail, unit=_FILES),
            )
        )

    async def _expand(self, request: Any) -> Any:
        given(request, "volume_id")
        is_block = request.volume_capability.WhichOneof("access_type") == "block"
        staging = "" if is_block else request.staging_target_path
        path = self.target(staging or request.volume_path)
        place = await asyncio.to_thread(shown, path)
        if place is None and not path.is_block_device():
            raise Wrong(grpc.StatusCode.NOT_FOUND, f"volume {request.volume_id} is not at {path}")
        device = path if is_block or place is None else await asyncio.to_thread(_device, place, self._root)
        size = await asyncio.to_thread(devices.grown, device)
        asked = request.capacity_range.required_bytes
        if size < asked:
            raise Wrong(
                grpc.StatusCode.INTERNAL, f"{device} has {size} bytes so far, and {asked} are asked for"
            )
        if not is_block:
            await file_systems.grow_mounted(self._run, device, path)
        return pb.NodeExpandVolumeResponse(capacity_bytes=size)


async def _told[T](work: Any) -> T:
    """Failures of programs and file systems, by CSI's code."""
    try:
        found: T = await work
    except (Unusable, CannotRun) as problem:
        raise Wrong(grpc.StatusCode.INTERNAL, str(problem)) from problem
    return found


def _has(target: Path, number: str, volume: str) -> bool:
    """Whether a path shows the device already; raises Wrong when it shows another one."""
    place = shown(target)
    if place is not None and place.device != number:
        raise Wrong(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"{target} shows device {place.device}, which is not volume {volume}",
        )
    return place is not None


def _device(place: mounts.Mount, root: Path) -> Path:
    """The device of a file system, by its number: its name may be another one by now."""
    for one in sorted((root / "dev").iterdir()):
        if one.is_block_device() and devices.number(one) == place.device:
            return one
    raise FileNotFoundError(f"no device of this node has the number {place.device}")


def _mount(device: Path, staging: Path, kind: str, options: tuple[str, ...]) -> None:
    staging.mkdir(mode=0o750, parents=True, exist_ok=True)
    mounts.mount(str(device), staging, kind, options)


def _bind(source: Path, target: Path, options: tuple[str, ...]) -> None:
    try:
        mounts.mount(str(source), target, "none", ("bind", *options))
    except OSError:
        # Bound, but without its flags: better not there at all.
        mounts.unmount(target)
        raise
