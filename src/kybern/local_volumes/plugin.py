"""What the kubelet asks of the driver, by gRPC on two sockets: its registration, and CSI's Identity and Node.

    KUBELET/plugins_registry/local.kybern.io-reg.sock   says who the driver is and where it answers
    KUBELET/plugins/local.kybern.io/csi.sock            publishes volumes: binds of the store's directories

Needs no API server, so pods get and lose their volumes whatever becomes of it. Every call may come twice.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import csi_pb2 as pb
from kybern._proto import csi_pb2_grpc as rpc
from kybern._proto import pluginregistration_pb2 as reg
from kybern._proto import pluginregistration_pb2_grpc as reg_rpc
from kybern.daemon import mounts
from kybern.daemon.version import VERSION
from kybern.local_volumes.names import DRIVER, NODE_KEY
from kybern.local_volumes.store import Store
from kybern.local_volumes.wishes import OPTIONS

log = logging.getLogger(__name__)

_STATISTICS, _GROWTH, _CONDITION, _FINER_MODES = 2, 3, 4, 5
_PLACED, _ONLINE = 2, 1
_BYTES, _FILES = 1, 2
_GRACE = 2.0


class Wrong(Exception):
    """What the caller cannot have, and CSI's code for it."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Plugin(rpc.IdentityServicer, rpc.NodeServicer, reg_rpc.RegistrationServicer):  # type: ignore[misc]  # generated
    """Identity, Node and Registration of one node; what is not here answers that it is not implemented.

    ``kubelet`` is its --root-dir: targets lie below it.
    """

    def __init__(self, store: Store, node: str, kubelet: Path) -> None:
        self._store = store
        self._node = node
        self._kubelet = kubelet
        self.endpoint = kubelet / "plugins" / DRIVER / "csi.sock"
        self.registration = kubelet / "plugins_registry" / f"{DRIVER}-reg.sock"

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Both sockets; gone when the block ends, by which the kubelet knows."""
        for path in (self.endpoint, self.registration):
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        server = grpc.aio.server()
        rpc.add_IdentityServicer_to_server(self, server)
        rpc.add_NodeServicer_to_server(self, server)
        reg_rpc.add_RegistrationServicer_to_server(self, server)
        # The registration is looked for: the endpoint that it names has to be there before it.
        for path in (self.endpoint, self.registration):
            server.add_insecure_port(f"unix://{path}")
        await server.start()
        try:
            yield
        finally:
            self.registration.unlink(missing_ok=True)
            await server.stop(_GRACE)
            self.endpoint.unlink(missing_ok=True)

    async def _done[T](self, context: Any, work: Callable[[], T]) -> T:
        """Do what blocks, in a thread; failures become CSI's codes."""
        try:
            return await asyncio.to_thread(work)
        except Wrong as problem:
            code, text = problem.code, str(problem)
        except FileNotFoundError as problem:
            code, text = grpc.StatusCode.NOT_FOUND, str(problem)
        except OSError as problem:
            code, text = grpc.StatusCode.INTERNAL, problem.strerror or str(problem)
        log.warning("%s: %s", code.name, text)
        await context.abort(code, text)
        raise AssertionError("abort does not return")

    async def GetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802  # names of the wire
        return reg.PluginInfo(
            type="CSIPlugin", name=DRIVER, endpoint=str(self.endpoint), supported_versions=("1.0.0",)
        )

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.plugin_registered:
            log.info("The kubelet knows this driver")
        else:
            log.warning("the kubelet does not take this driver: %s", request.error)
        return reg.RegistrationStatusResponse()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetPluginInfoResponse(name=DRIVER, vendor_version=VERSION)

    async def GetPluginCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        placed = pb.PluginCapability(service=pb.ServiceCapability(type=_PLACED))
        grows = pb.PluginCapability(volume_expansion=pb.ServiceCapability(type=_ONLINE))
        return pb.GetPluginCapabilitiesResponse(capabilities=(placed, grows))

    async def Probe(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ProbeResponse(ready=pb.BoolValue(value=True))

    async def NodeGetCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        able = (_STATISTICS, _GROWTH, _CONDITION, _FINER_MODES)
        each = [pb.NodeServiceCapability(rpc=pb.ServiceCapability(type=one)) for one in able]
        return pb.NodeGetCapabilitiesResponse(capabilities=each)

    async def NodeGetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        place = pb.Topology(segments={NODE_KEY: self._node})
        return pb.NodeGetInfoResponse(node_id=self._node, accessible_topology=place)

    async def NodePublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._done(context, lambda: self._publish(request))
        return pb.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._done(context, lambda: self._unpublish(request))
        return pb.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._done(context, lambda: self._statistics(request))

    async def NodeExpandVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._done(context, lambda: self._expand(request))

    def _target(self, text: str) -> Path:
        path = Path(text)
        if ".." in path.parts or not path.is_relative_to(self._kubelet) or path == self._kubelet:
            raise Wrong(
                grpc.StatusCode.INVALID_ARGUMENT, f"target path {text!r} is not below {self._kubelet}"
            )
        return path

    def _publish(self, request: Any) -> None:
        target, asked = self._target(request.target_path), request.volume_capability
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
        if _shown(target) is not None:
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
        found = _shown(target)
        if found is not None and found.root.parts[-2:] != (handle, "data"):
            raise Wrong(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"{target} shows {found.root}, which is not volume {handle}",
            )

    def _unpublish(self, request: Any) -> None:
        target = self._target(request.target_path)
        self._check_own(request.volume_id, target)
        mounts.unmount(target)
        if target.is_dir():
            target.rmdir()

    def _statistics(self, request: Any) -> Any:
        found = self._store.use(request.volume_id)
        return pb.NodeGetVolumeStatsResponse(
            usage=(
                pb.VolumeUsage(total=found.total, used=found.used, available=found.available, unit=_BYTES),
                pb.VolumeUsage(total=found.files, used=found.files_used, available=found.files_free, unit=_FILES),
            ),
            volume_condition=pb.VolumeCondition(abnormal=False, message="the directory is there"),
        )  # fmt: skip

    def _expand(self, request: Any) -> Any:
        found = self._store.get(request.volume_id)
        asked = request.capacity_range.required_bytes
        if asked > found.size:
            raise Wrong(
                grpc.StatusCode.OUT_OF_RANGE,
                f"volume {found.handle} has {found.size} bytes: its claim decides, and {asked} are not granted yet",
            )
        self._store.enforce(found)
        return pb.NodeExpandVolumeResponse(capacity_bytes=found.size)


def _shown(target: Path) -> mounts.Mount | None:
    """What is mounted exactly there; the topmost."""
    return next((one for one in reversed(tuple(mounts.mounts())) if one.point == target), None)
