"""The programs that know devices: they register at ROOT/device-plugins/kubelet.sock, then are asked at their own sockets.

What holds: the sockets there go when the kubelet starts, which is how plugins notice and register again; a plugin whose
stream ended has no device that is well; after five minutes without it there are none of its resource. Which resources
are devices is kept in a file, so that those of a plugin that does not come back after a restart are none as well: the node
keeps other extended resources as somebody wrote them.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern._proto import deviceplugin_pb2 as pb
from kybern._proto import deviceplugin_pb2_grpc as rpc
from kybern.daemon.files import replace_file
from kybern.kubelet.devices.ledger import Question
from kybern.kubelet.topology.hints import Nodes, together

log = logging.getLogger(__name__)

_VERSION = "v1beta1"
_PATIENCE = 60.0
# Seconds in which a plugin must answer at its own socket (upstream's dial).
_REACHED = 10.0
_KEPT = 300.0
_NAMES = "resources"


class PluginFailure(Exception):
    """A plugin did not do what it was asked; the message is its own."""


@dataclass(slots=True)
class Plugin:
    """One resource. ``near``: the NUMA nodes of each device (0: it does not say).

    ``prefers``: it wants to say which devices it would rather give. ``gone_at``: since when its plugin is not there (seconds
    of a clock that does not step).
    """

    endpoint: Path
    needs_start: bool = False
    prefers: bool = False
    all: frozenset[str] = frozenset()
    well: frozenset[str] = frozenset()
    near: Mapping[str, Nodes] = field(default_factory=dict)
    gone_at: float | None = None


@contextlib.asynccontextmanager
async def _stub(endpoint: Path) -> AsyncIterator[Any]:
    options = [("grpc.default_authority", "localhost")]
    async with grpc.aio.insecure_channel(f"unix://{endpoint}", options=options) as channel:
        try:
            yield rpc.DevicePluginStub(channel)
        except grpc.aio.AioRpcError as problem:
            spoken = "".join(part.capitalize() for part in problem.code().name.split("_"))
            raise PluginFailure(f"rpc error: code = {spoken} desc = {problem.details()}") from problem


async def _options(endpoint: Path) -> Any:
    """What a plugin wants to be asked: by its own socket, as upstream has it, whatever its registration says.

    Raises PluginFailure.
    """
    async with _stub(endpoint) as stub:
        return await stub.GetDevicePluginOptions(pb.Empty(), timeout=_REACHED, wait_for_ready=True)


class Plugins:
    """``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tasks: asyncio.TaskGroup | None = None
        self._following: dict[str, asyncio.Task[None]] = {}
        self.known: dict[str, Plugin] = {}
        # Every resource that ever had a plugin here.
        self.names: frozenset[str] = frozenset()
        self.listening = False
        self.changed: Callable[[str, frozenset[str]], None] = lambda _resource, _devices: None
        """Hears which devices of a resource are well that were not, or the other way round."""

    async def run(self) -> None:
        await asyncio.to_thread(self._clear)
        server = grpc.aio.server()
        rpc.add_RegistrationServicer_to_server(self, server)
        try:
            server.add_insecure_port(f"unix://{self._directory}/kubelet.sock")
        except RuntimeError as problem:
            # A path that is too long for a socket, say: the node runs all pods but those that want devices.
            log.warning("cannot listen for device plugins: %s", problem)
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await server.start()
                self.listening = True
                await asyncio.Event().wait()
        finally:
            await server.stop(None)

    def _clear(self) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for path in self._directory.iterdir():
            if path.is_socket():
                path.unlink()
        names = self._directory / _NAMES
        self.names |= frozenset(names.read_text().split() if names.exists() else ())

    def _remember(self, name: str) -> None:
        self.names |= {name}
        replace_file(self._directory / _NAMES, "".join(f"{one}\n" for one in sorted(self.names)).encode())

    async def Register(self, request: Any, context: Any) -> Any:  # noqa: N802  # the name of the call
        """A plugin says that it is there."""
        name = request.resource_name
        if request.version != _VERSION:
            asked = f'requested API version "{request.version}" is not supported by kubelet.'
            text = f'{asked} Supported version is "{_VERSION}"'
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        if "/" not in name or name.startswith(("requests.", "kubernetes.io/")) or "/" in request.endpoint:
            text = f'the ResourceName "{name}" is invalid'
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        endpoint = self._directory / request.endpoint
        try:
            told = await _options(endpoint)
        except PluginFailure as problem:
            text = f"failed to get device plugin options: {problem}"
            log.warning("cannot use the plugin of device %s: %s", name, text)
            await context.abort(grpc.StatusCode.UNKNOWN, text)
        if name not in self.names:
            await asyncio.to_thread(self._remember, name)
        old = self._following.pop(name, None)
        if old is not None:
            old.cancel()
        before = self.known.get(name)
        plugin = Plugin(endpoint, told.pre_start_required, told.get_preferred_allocation_available)
        if before is not None:
            plugin.all, plugin.near = before.all, before.near
        self.known[name] = plugin
        assert self._tasks is not None
        self._following[name] = self._tasks.create_task(self._follow(name, plugin))
        log.info("Registered the plugin of device %s", name)
        return pb.Empty()

    async def _follow(self, name: str, plugin: Plugin) -> None:
        """Hear of devices for as long as the plugin is there."""
        try:
            async with _stub(plugin.endpoint) as stub:
                async for told in stub.ListAndWatch(pb.Empty()):
                    before, plugin.all = plugin.well, frozenset(device.ID for device in told.devices)
                    plugin.well = frozenset(
                        device.ID for device in told.devices if device.health == "Healthy"
                    )
                    plugin.near = {d.ID: together(n.ID for n in d.topology.nodes) for d in told.devices}
                    self.changed(name, before ^ plugin.well)
        except PluginFailure as problem:
            log.warning("the plugin of device %s is gone: %s", name, problem)
        before, plugin.well, plugin.gone_at = plugin.well, frozenset(), time.monotonic()
        self.changed(name, before)

    def well(self) -> Mapping[str, frozenset[str]]:
        """Healthy devices, by resource."""
        return {name: plugin.well for name, plugin in self.known.items()}

    def near(self) -> Mapping[str, Mapping[str, Nodes]]:
        """The NUMA nodes of all devices, by resource."""
        return {name: plugin.near for name, plugin in self.known.items()}

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """How many there are of each resource, and how many of them can be used; none when its plugin is gone for long."""
        now = time.monotonic()
        there = {
            name: (len(plugin.all), len(plugin.well))
            for name, plugin in self.known.items()
            if plugin.gone_at is None or now - plugin.gone_at < _KEPT
        }
        return dict.fromkeys((*self.names, *self.known), (0, 0)) | there

    def asking(self) -> frozenset[str]:
        """The resources whose plugins want to be asked which devices they would rather give."""
        return frozenset(name for name, plugin in self.known.items() if plugin.prefers)

    async def preferred(self, question: Question) -> frozenset[str]:
        """Which devices a plugin would rather give. Raises PluginFailure."""
        wanted = pb.ContainerPreferredAllocationRequest(
            available_deviceIDs=sorted(question.available),
            must_include_deviceIDs=sorted(question.must),
            allocation_size=question.size,
        )
        request = pb.PreferredAllocationRequest(container_requests=[wanted])
        try:
            async with _stub(self.known[question.resource].endpoint) as stub:
                answer = await stub.GetPreferredAllocation(request, timeout=_PATIENCE)
        except PluginFailure as problem:
            text = f"device plugin GetPreferredAllocation rpc failed with err: {problem}"
            raise PluginFailure(text) from problem
        found = answer.container_responses
        return frozenset(found[0].deviceIDs) if found else frozenset()

    async def allocate(self, resource: str, devices: tuple[str, ...]) -> bytes:
        """What a container needs to use these devices: a ContainerAllocateResponse. Raises PluginFailure."""
        wanted = pb.ContainerAllocateRequest(devices_ids=devices)
        async with _stub(self.known[resource].endpoint) as stub:
            answer = await stub.Allocate(pb.AllocateRequest(container_requests=[wanted]), timeout=_PATIENCE)
        if not answer.container_responses:
            raise PluginFailure("no containers return in allocation response")
        return bytes(answer.container_responses[0].SerializeToString())

    async def before_start(self, resource: str, devices: tuple[str, ...]) -> None:
        """Tell the plugin that a container starts, if it wants to know. Raises PluginFailure."""
        plugin = self.known.get(resource)
        if plugin is not None and plugin.needs_start:
            async with _stub(plugin.endpoint) as stub:
                await stub.PreStartContainer(
                    pb.PreStartContainerRequest(devices_ids=devices), timeout=_PATIENCE
                )
