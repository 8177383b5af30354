"""The kubelet's side of a driver: its registration and CSI's Identity, on two sockets; a driver adds its Node calls.

    KUBELET/plugins_registry/DRIVER-reg.sock   says who the driver is and where it answers
    KUBELET/plugins/DRIVER/csi.sock            Identity and Node

Needs no API server. Every call may come twice.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
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

log = logging.getLogger(__name__)

STAGES, STATISTICS, GROWTH, CONDITION, FINER_MODES = 1, 2, 3, 4, 5
"""What a node's part may be able to do: CSI's NodeServiceCapability.RPC.Type."""
CONTROLLER, PLACED = 1, 2
"""Of the whole driver: CSI's PluginCapability.Service.Type."""
_ONLINE = 1
_GRACE = 2.0


class Wrong(Exception):
    """What the caller cannot have, and CSI's code for it."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class About:
    """A driver: its name, its services, all of whose volumes grow while they are used, and what its node's part can do."""

    name: str
    services: tuple[int, ...]
    abilities: tuple[int, ...]


class Plugin(rpc.IdentityServicer, rpc.NodeServicer, reg_rpc.RegistrationServicer):  # type: ignore[misc]  # generated
    """Identity and Registration; Node calls that a driver does not add answer that they are not implemented.

    ``kubelet`` is its --root-dir: targets lie below it.
    """

    def __init__(self, about: About, kubelet: Path) -> None:
        self._about = about
        self._kubelet = kubelet
        self.endpoint = kubelet / "plugins" / about.name / "csi.sock"
        self.registration = kubelet / "plugins_registry" / f"{about.name}-reg.sock"

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

    async def done[T](self, context: Any, work: Callable[[], T]) -> T:
        """Do what blocks, in a thread; failures become CSI's codes."""
        return await self.awaited(context, asyncio.to_thread(work))

    async def awaited[T](self, context: Any, work: Awaitable[T]) -> T:
        """What a call comes to; failures become CSI's codes."""
        try:
            return await work
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
            type="CSIPlugin",
            name=self._about.name,
            endpoint=str(self.endpoint),
            supported_versions=("1.0.0",),
        )

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.plugin_registered:
            log.info("The kubelet knows this driver")
        else:
            log.warning("the kubelet does not take this driver: %s", request.error)
        return reg.RegistrationStatusResponse()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetPluginInfoResponse(name=self._about.name, vendor_version=VERSION)

    async def GetPluginCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        services = [
            pb.PluginCapability(service=pb.ServiceCapability(type=one)) for one in self._about.services
        ]
        grows = pb.PluginCapability(volume_expansion=pb.ServiceCapability(type=_ONLINE))
        return pb.GetPluginCapabilitiesResponse(capabilities=(*services, grows))

    async def Probe(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ProbeResponse(ready=pb.BoolValue(value=True))

    async def NodeGetCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        able = self._about.abilities
        each = [pb.NodeServiceCapability(rpc=pb.ServiceCapability(type=one)) for one in able]
        return pb.NodeGetCapabilitiesResponse(capabilities=each)

    def target(self, text: str) -> Path:
        """A path that the kubelet may name; raises Wrong for one that is not below its directory."""
        path = Path(text)
        if ".." in path.parts or not path.is_relative_to(self._kubelet) or path == self._kubelet:
            raise Wrong(
                grpc.StatusCode.INVALID_ARGUMENT, f"target path {text!r} is not below {self._kubelet}"
            )
        return path


def given(request: Any, *fields: str) -> None:
    """Raises Wrong for what CSI requires of a call and the caller left out."""
    for name in fields:
        field = request.DESCRIPTOR.fields_by_name[name]
        if not (request.HasField(name) if field.message_type is not None else getattr(request, name)):
            raise Wrong(grpc.StatusCode.INVALID_ARGUMENT, f"{name} is missing")


def shown(target: Path) -> mounts.Mount | None:
    """What is mounted exactly there; the topmost."""
    return next((one for one in reversed(tuple(mounts.mounts())) if one.point == target), None)
