"""Devices that a plugin knows: told by the node, given to containers, free again afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kybern._proto import deviceplugin_pb2 as pb
from kybern._proto import deviceplugin_pb2_grpc as rpc
from kybern.api.core_v1 import Node, Pod
from tests.protocol.containerd_bed import KINDS, SLEEP, Api, Bed, OneNode, clean, one_node, running

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

NAME = "tests.kybern.example/knob"


class Plugin:
    """Two knobs, which are null devices in truth."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.health = {"one": "Healthy", "two": "Healthy"}
        self.changed = asyncio.Event()
        self.allocated: list[tuple[str, ...]] = []
        self.started: list[tuple[str, ...]] = []
        self.refuse = ""
        self.preferred: tuple[str, ...] = ()

    async def ListAndWatch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        while True:
            devices = [pb.Device(ID=name, health=health) for name, health in self.health.items()]
            yield pb.ListAndWatchResponse(devices=devices)
            await self.changed.wait()
            self.changed.clear()

    async def GetDevicePluginOptions(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)

    async def GetPreferredAllocation(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = pb.ContainerPreferredAllocationResponse(deviceIDs=self.preferred)
        return pb.PreferredAllocationResponse(container_responses=[answer])

    async def Allocate(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.refuse:
            await context.abort(grpc.StatusCode.INTERNAL, self.refuse)
        (wanted,) = request.container_requests
        self.allocated.append(tuple(wanted.devices_ids))
        answer = pb.ContainerAllocateResponse(
            envs={"KNOBS": ",".join(wanted.devices_ids), "FREE": "plugin"},
            devices=[pb.DeviceSpec(container_path="/dev/knob", host_path="/dev/null", permissions="rw")],
            mounts=[pb.Mount(container_path="/knobs", host_path=str(self.directory), read_only=True)],
            annotations={"knobs": "yes"},
        )
        return pb.AllocateResponse(container_responses=[answer])

    async def PreStartContainer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.started.append(tuple(request.devices_ids))
        return pb.PreStartContainerResponse()


@asynccontextmanager
async def plugged(node: OneNode, version: str = "v1beta1") -> AsyncIterator[Plugin]:
    directory = node.bed.at / "kubelet/device-plugins"
    plugin = Plugin(node.bed.at / "cni")
    for _try in range(100):
        # The kubelet takes away what is there before it listens.
        if node.kubelet.here.devices.plugins.listening:
            break
        await asyncio.sleep(0.05)
    server = grpc.aio.server()
    rpc.add_DevicePluginServicer_to_server(plugin, server)
    server.add_insecure_port(f"unix://{directory}/knob.sock")
    await server.start()
    request = pb.RegisterRequest(version=version, endpoint="knob.sock", resource_name=NAME)
    options = [("grpc.default_authority", "localhost")]
    try:
        async with grpc.aio.insecure_channel(f"unix://{directory}/kubelet.sock", options=options) as channel:
            await rpc.RegistrationStub(channel).Register(request, timeout=10, wait_for_ready=True)
        yield plugin
    finally:
        plugin.changed.set()
        await server.stop(None)


async def counted(node: OneNode, capacity: str, allocatable: str, seconds: float = 15.0) -> None:
    """Wait until the node tells so many knobs."""
    limit = time.monotonic() + seconds
    while True:
        found = node.api.one(Node, "", "n1")
        told = (
            (found.status.capacity.get(NAME), found.status.allocatable.get(NAME))
            if found is not None
            else None
        )
        if told == (capacity, allocatable):
            return
        assert time.monotonic() < limit, told
        await asyncio.sleep(0.1)


def asking(count: int, name: str = "c", command: list[str] | None = None, **more: Any) -> dict[str, Any]:
    amounts = {NAME: str(count)}
    return {
        "name": name,
        "command": command or SLEEP,
        "resources": {"limits": amounts, "requests": amounts},
        **more,
    }


def rejected(pod: Pod) -> bool:
    return pod.status.phase == "Failed"


def healths(pod: Pod) -> list[str]:
    told = pod.status.container_statuses[0].allocated_resources_status
    return [found.health for one in told for found in one.resources]


async def test_devices_are_told_given_and_free_again(bed: Bed) -> None:
    async with one_node(bed, status_every=0.3) as node, plugged(node) as plugin:
        await counted(node, "2", "2")
        await node.add("one", asking(1, env=[{"name": "FREE", "value": "pod"}]))
        await node.until("one", running)
        inside = await node.execute("one", "sh", "-c", "echo $KNOBS $FREE; ls /dev/knob /knobs")
        await node.add("more", asking(2))
        more = await node.until("more", rejected)
        for name in plugin.health:
            plugin.health[name] = "Unhealthy"
        plugin.changed.set()
        await counted(node, "2", "0")
        await node.until("one", lambda p: healths(p) == ["Unhealthy"])
        for name in plugin.health:
            plugin.health[name] = "Healthy"
        plugin.changed.set()
        await node.until("one", lambda p: healths(p) == ["Healthy"])
        await node.delete("one")
        await node.gone("one")
        await counted(node, "2", "2")
        await node.add("both", asking(2))
        await node.until("both", running)

    assert inside.split() == ["one", "pod", "/dev/knob", "/knobs:", "10-bed.conflist"]
    text = f"requested number of devices unavailable for {NAME}. Requested: 2, Available: 1"
    assert more.status.reason == "UnexpectedAdmissionError"
    assert more.status.message == f"Pod was rejected: Allocate failed due to {text}, which is unexpected"
    assert plugin.allocated == [("one",), ("one", "two")]
    assert plugin.started == [("one",), ("one", "two")]
    await clean(bed)


async def test_an_init_container_hands_its_devices_on(bed: Bed) -> None:
    async with one_node(bed, status_every=0.3) as node, plugged(node) as plugin:
        await counted(node, "2", "2")
        first = asking(2, "i", ["true"], image="busybox:1.36")
        await node.add("passes", asking(1), initContainers=[first])
        await node.until("passes", running)

        assert plugin.allocated == [("one", "two"), ("one",)]
    await clean(bed)


async def test_what_is_given_stays_so_when_the_kubelet_starts_again(bed: Bed) -> None:
    api = Api(*KINDS)
    async with one_node(bed, api, status_every=0.3) as node, plugged(node):
        await counted(node, "2", "2")
        await node.add("keeps", asking(1))
        await node.until("keeps", running)

    async with one_node(bed, api, status_every=0.3) as node, plugged(node) as plugin:
        await counted(node, "2", "2")
        await node.add("next", asking(1))
        await node.until("next", running)
        assert plugin.allocated == [("two",)]
        keeps: Callable[[Pod], bool] = running
        await node.until("keeps", keeps)
    await clean(bed)


async def test_a_plugin_that_refuses_or_is_too_new_is_told(bed: Bed) -> None:
    async with one_node(bed, status_every=0.3) as node:
        with pytest.raises(grpc.aio.AioRpcError, match='requested API version "v9" is not supported'):
            async with plugged(node, "v9"):
                pass
        async with plugged(node) as plugin:
            await counted(node, "2", "2")
            plugin.refuse = "no power"
            await node.add("dark", asking(1))
            dark = await node.until("dark", rejected)
        await counted(node, "2", "0")

    assert dark.status.message == (
        "Pod was rejected: Allocate failed due to rpc error: code = Internal desc = no power, which is unexpected"
    )
    await clean(bed)


async def test_a_plugin_says_which_device_it_would_rather_give(bed: Bed) -> None:
    async with one_node(bed, status_every=0.3) as node, plugged(node) as plugin:
        await counted(node, "2", "2")
        plugin.preferred = ("two",)
        await node.add("choosy", asking(1))
        await node.until("choosy", running, 60)
        await node.delete("choosy")
        await node.gone("choosy")

    assert plugin.allocated == [("two",)]
    await clean(bed)
