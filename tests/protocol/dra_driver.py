"""A driver of devices in this process: it prepares every device of a claim under one CDI name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import dra_health_pb2 as health_pb
from kybern._proto import dra_health_pb2_grpc as health_rpc
from kybern._proto import dra_pb2 as pb
from kybern._proto import dra_pb2_grpc as rpc
from kybern._proto import pluginregistration_pb2 as reg
from kybern._proto import pluginregistration_pb2_grpc as reg_rpc

NAME = "dra.tests.kybern.example"
CDI = f"{NAME}/knob=one"


@dataclass
class Devices:
    """``calls`` is what was asked: a verb and the names of claims. ``refuse`` makes the claims of a verb fail.

    Claims of these names (``slow``) wait for ``going_on``. ``health`` is what is told of the device, each time ``changed``.
    """

    calls: list[tuple[str, ...]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    leave_out: bool = False
    slow: frozenset[str] = frozenset()
    going_on: asyncio.Event = field(default_factory=asyncio.Event)
    health: tuple[Any, str, int] = (health_pb.HEALTHY, "", 0)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _asked(self, verb: str, request: Any) -> list[Any]:
        self.calls.append((verb, *sorted(claim.name for claim in request.claims)))
        return [] if self.leave_out else list(request.claims)

    async def NodePrepareResources(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.slow.intersection(claim.name for claim in request.claims):
            await self.going_on.wait()
        device = pb.Device(request_names=["knob"], pool_name="n1", device_name="one", cdi_device_ids=[CDI])
        answer = pb.NodePrepareResourceResponse(devices=[device], error=self.refuse.get("prepare", ""))
        return pb.NodePrepareResourcesResponse(
            claims={claim.uid: answer for claim in self._asked("prepare", request)}
        )

    async def NodeWatchResources(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        device = health_pb.DeviceIdentifier(pool_name="n1", device_name="one")
        while True:
            health, message, timeout = self.health
            told = health_pb.DeviceHealth(
                device=device, health=health, message=message, health_check_timeout_seconds=timeout
            )
            yield health_pb.NodeWatchResourcesResponse(devices=[told])
            await self.changed.wait()
            self.changed.clear()

    async def NodeUnprepareResources(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = pb.NodeUnprepareResourceResponse(error=self.refuse.get("unprepare", ""))
        return pb.NodeUnprepareResourcesResponse(
            claims={claim.uid: answer for claim in self._asked("unprepare", request)}
        )


@dataclass
class Registration:
    endpoint: str
    versions: tuple[str, ...]
    told: list[tuple[bool, str]] = field(default_factory=list)

    async def GetInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return reg.PluginInfo(
            type="DRAPlugin", name=NAME, endpoint=self.endpoint, supported_versions=self.versions
        )

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.told.append((request.plugin_registered, request.error))
        return reg.RegistrationStatusResponse()


@asynccontextmanager
async def driver(
    root: Path, versions: tuple[str, ...] = ("v1.DRAPlugin",), *, tells: bool = False
) -> AsyncIterator[tuple[Devices, Registration]]:
    """The driver of a kubelet whose --root-dir is ``root``; its sockets go when the block ends.

    ``tells``: it serves the health of its device, too.
    """
    registry, own = root / "plugins_registry", root / "plugins" / NAME
    for directory in (registry, own):
        directory.mkdir(parents=True, exist_ok=True)
    endpoint, socket = own / "dra.sock", registry / f"{NAME}-reg.sock"
    devices, registration = Devices(), Registration(str(endpoint), versions)
    serving = grpc.aio.server()
    rpc.add_DRAPluginServicer_to_server(devices, serving)
    if tells:
        health_rpc.add_DRAResourceHealthServicer_to_server(devices, serving)
    serving.add_insecure_port(f"unix://{endpoint}")
    await serving.start()
    registering = grpc.aio.server()
    reg_rpc.add_RegistrationServicer_to_server(registration, registering)
    registering.add_insecure_port(f"unix://{socket}")
    await registering.start()
    try:
        yield devices, registration
    finally:
        await registering.stop(None)
        await serving.stop(None)
        for path in (socket, endpoint):
            path.unlink(missing_ok=True)
