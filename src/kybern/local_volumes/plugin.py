"""What the kubelet asks of the driver, by gRPC on two sockets: its registration, and CSI's Identity and Node.

    KUBELET/plugins_registry/local.kybern.io-reg.sock   says who the driver is and where it answers
    KUBELET/plugins/local.kybern.io/csi.sock            publishes volumes: binds of the store's directories

Needs no API server, so pods get and lose their volumes whatever becomes of it. Every call may come twice.
"""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import csi_pb2 as pb
from kybern.csi.serving import CONDITION, FINER_MODES, GROWTH, PLACED, STATISTICS, About, Wrong, given, shown
from kybern.csi.serving import Plugin as Served
from kybern.daemon import mounts
from kybern.local_volumes.names import DRIVER, NODE_KEY
from kybern.local_volumes.store import Store
from kybern.local_volumes.wishes import OPTIONS

ABOUT = About(DRIVER, (PLACED,), (STATISTICS, GROWTH, CONDITION, FINER_MODES))
_BYTES, _FILES = 1, 2


class Plugin(Served):
    """Node of one node; ``kubelet`` is its --root-dir."""

    def __init__(self, store: Store, node: str, kubelet: Path) -> None:
        super().__init__(ABOUT, kubelet)
        self._store = store
        self._node = node

    async def NodeGetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802  # names of the wire
        place = pb.Topology(segments={NODE_KEY: self._node})
        return pb.NodeGetInfoResponse(node_id=self._node, accessible_topology=place)

    async def NodePublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.done(context, lambda: self._publish(request))
        return pb.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.done(context, lambda: self._unpublish(request))
        return pb.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self.done(context, lambda: self._statistics(request))

    async def NodeExpandVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self.done(context, lambda: self._expand(request))

    def _publish(self, request: Any) -> None:
        given(request, "volume_id", "volume_capability")
        target, asked = self.target(request.target_path), request.volume_capability
        if asked.WhichOneof("access_type") != "mount":
            raise Wrong(
                grpc.StatusCode.INVALID_ARGUMENT, "volumes are directories: only mounts can be asked for"
            )
        options = tuple(asked.mount.mount_flags)
        unknown = sorted(set(options) - OPTIONS)
        if unknown:
            raise Wrong(
                grpc.StatusCode.INVALID_ARGUMENT, f"mount option {unknown[0]!r} is not supported by a bind"
            )
        data = self._store.data(request.volume_id)
        if shown(target) is not None:
            self._check_own(request.volume_id, target)
            return
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
        read_only = ("ro",) if request.readonly else ()
        try:
            mounts.mount(str(data), target, "none", ("bind", *options, *read_only))
        except OSError:
            # Bound, but without its flags: better not there at all.
            mounts.unmount(target)
            raise

    def _check_own(self, handle: str, target: Path) -> None:
        """Raises Wrong when something else than this volume is shown there."""
        found = shown(target)
        if found is not None and found.root.parts[-2:] != (handle, "data"):
            raise Wrong(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"{target} shows {found.root}, which is not volume {handle}",
            )

    def _unpublish(self, request: Any) -> None:
        given(request, "volume_id")
        target = self.target(request.target_path)
        self._check_own(request.volume_id, target)
        mounts.unmount(target)
        if target.is_dir():
            target.rmdir()

    def _statistics(self, request: Any) -> Any:
        given(request, "volume_id")
        found = self._store.use(request.volume_id)
        return pb.NodeGetVolumeStatsResponse(
            usage=(
                pb.VolumeUsage(total=found.total, used=found.used, available=found.available, unit=_BYTES),
                pb.VolumeUsage(total=found.files, used=found.files_used, available=found.files_free, unit=_FILES),
            ),
            volume_condition=pb.VolumeCondition(abnormal=False, message="the directory is there"),
        )  # fmt: skip

    def _expand(self, request: Any) -> Any:
        given(request, "volume_id")
        found = self._store.get(request.volume_id)
        asked = request.capacity_range.required_bytes
        if asked > found.size:
            raise Wrong(
                grpc.StatusCode.OUT_OF_RANGE,
                f"volume {found.handle} has {found.size} bytes: its claim decides, and {asked} are not granted yet",
            )
        self._store.enforce(found)
        return pb.NodeExpandVolumeResponse(capacity_bytes=found.size)
