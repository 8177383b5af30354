"""What the kubelet asks of a node's driver, over its sockets, with real mounts. Needs root, no containerd."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kybern._proto import csi_pb2 as pb
from kybern._proto import csi_pb2_grpc as rpc
from kybern._proto import pluginregistration_pb2 as reg
from kybern._proto import pluginregistration_pb2_grpc as reg_rpc
from kybern.daemon import mounts
from kybern.local_volumes.plugin import Plugin
from kybern.local_volumes.store import InUse, Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")

MOUNTED = pb.VolumeCapability(mount=pb.MountVolume(), access_mode=pb.AccessMode(mode=7))


class Kubelet:
    """As the kubelet asks: ``code`` is what a call fails with."""

    def __init__(self, plugin: Plugin, store: Store, root: Path) -> None:
        self.plugin = plugin
        self.store = store
        self.root = root

    def target(self, name: str) -> Path:
        return self.root / "pods" / name / "volumes/kubernetes.io~csi/v/mount"

    async def ask(self, method: str, request: Any, stub: Any = rpc.NodeStub, registers: bool = False) -> Any:
        socket = self.plugin.registration if registers else self.plugin.endpoint
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(f"unix://{socket}", options=options) as channel:
            return await getattr(stub(channel), method)(request, timeout=10)

    async def publish(self, handle: str, target: Path | str, **more: Any) -> None:
        given = {"volume_capability": MOUNTED} | more
        request = pb.NodePublishVolumeRequest(volume_id=handle, target_path=str(target), **given)
        await self.ask("NodePublishVolume", request)

    async def unpublish(self, handle: str, target: Path) -> None:
        request = pb.NodeUnpublishVolumeRequest(volume_id=handle, target_path=str(target))
        await self.ask("NodeUnpublishVolume", request)

    async def code(self, work: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await work
        return str(refused.value.code().name)


@pytest.fixture
async def kubelet(tmp_path: Path) -> AsyncIterator[Kubelet]:
    root = tmp_path / "kubelet"
    store = Store.at(tmp_path / "volumes")
    plugin = Plugin(store, "n1", root)
    async with plugin.served():
        yield Kubelet(plugin, store, root)
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
    assert not plugin.registration.exists()


async def test_the_driver_says_who_it_is(kubelet: Kubelet) -> None:
    about = await kubelet.ask("GetInfo", reg.InfoRequest(), reg_rpc.RegistrationStub, registers=True)
    name = await kubelet.ask("GetPluginInfo", pb.GetPluginInfoRequest(), rpc.IdentityStub)
    probe = await kubelet.ask("Probe", pb.ProbeRequest(), rpc.IdentityStub)
    able = await kubelet.ask("GetPluginCapabilities", pb.GetPluginCapabilitiesRequest(), rpc.IdentityStub)
    node = await kubelet.ask("NodeGetInfo", pb.NodeGetInfoRequest())

    assert (about.type, about.name, about.endpoint) == (
        "CSIPlugin",
        "local.kybern.io",
        str(kubelet.plugin.endpoint),
    )
    assert (name.name, probe.ready.value) == ("local.kybern.io", True)
    assert [one.WhichOneof("type") for one in able.capabilities] == ["service", "volume_expansion"]
    assert dict(node.accessible_topology.segments) == {"local.kybern.io/node": "n1"}


async def test_a_volume_is_shown_where_it_is_asked_for_and_taken_back(kubelet: Kubelet) -> None:
    kubelet.store.make("pvc-1", 1 << 20)
    first, second = kubelet.target("a"), kubelet.target("b")
    for _ in range(2):
        await kubelet.publish("pvc-1", first)
    await kubelet.publish("pvc-1", second, readonly=True)
    (first / "file").write_text("kept")

    assert (second / "file").read_text() == "kept"
    with pytest.raises(OSError, match="Read-only"):
        (second / "more").write_text("x")
    with pytest.raises(InUse):
        kubelet.store.retire("pvc-1")
    for target in (first, second):
        for _ in range(2):
            await kubelet.unpublish("pvc-1", target)
        assert not target.exists()
    assert (kubelet.store.data("pvc-1") / "file").read_text() == "kept"
    kubelet.store.forget(kubelet.store.retire("pvc-1"))


async def test_options_of_the_class_hold_for_the_mount(kubelet: Kubelet) -> None:
    kubelet.store.make("pvc-1", 1 << 20)
    options = pb.VolumeCapability(mount=pb.MountVolume(mount_flags=("noexec", "nosuid")))
    target = kubelet.target("a")
    await kubelet.publish("pvc-1", target, volume_capability=options)

    (line,) = [one for one in Path("/proc/self/mountinfo").read_text().splitlines() if str(target) in one]
    assert {"noexec", "nosuid"} <= set(line.split()[5].split(","))
    await kubelet.unpublish("pvc-1", target)
    foreign = pb.VolumeCapability(mount=pb.MountVolume(mount_flags=("hard",)))
    assert (
        await kubelet.code(kubelet.publish("pvc-1", target, volume_capability=foreign)) == "INVALID_ARGUMENT"
    )
    assert not target.exists()


async def test_nothing_is_shown_outside_of_the_kubelet_s_directory(kubelet: Kubelet, tmp_path: Path) -> None:
    kubelet.store.make("pvc-1", 1 << 20)

    for target in (tmp_path / "etc", "/etc", f"{kubelet.root}/../etc", "relative", kubelet.root):
        assert await kubelet.code(kubelet.publish("pvc-1", target)) == "INVALID_ARGUMENT"
    assert await kubelet.code(kubelet.publish("pvc-2", kubelet.target("a"))) == "NOT_FOUND"
    assert await kubelet.code(kubelet.publish("../pvc-1", kubelet.target("a"))) == "NOT_FOUND"
    block = pb.VolumeCapability(block=pb.BlockVolume())
    assert (
        await kubelet.code(kubelet.publish("pvc-1", kubelet.target("a"), volume_capability=block))
        == "INVALID_ARGUMENT"
    )


async def test_what_something_else_is_mounted_at_is_left_alone(kubelet: Kubelet) -> None:
    kubelet.store.make("pvc-1", 1 << 20)
    kubelet.store.make("pvc-2", 1 << 20)
    target = kubelet.target("a")
    await kubelet.publish("pvc-2", target)

    assert await kubelet.code(kubelet.publish("pvc-1", target)) == "FAILED_PRECONDITION"
    assert await kubelet.code(kubelet.unpublish("pvc-1", target)) == "FAILED_PRECONDITION"
    assert mounts.is_mounted(target)
    await kubelet.unpublish("pvc-2", target)


async def test_use_and_growth_are_told(kubelet: Kubelet) -> None:
    kubelet.store.make("pvc-1", 1 << 20)
    asked = pb.NodeGetVolumeStatsRequest(volume_id="pvc-1", volume_path="/x")
    told = await kubelet.ask("NodeGetVolumeStats", asked)
    small, large = (pb.CapacityRange(required_bytes=size) for size in (1 << 20, 1 << 21))

    assert [one.unit for one in told.usage] == [1, 2]
    assert all(one.total > 0 for one in told.usage)
    grown = await kubelet.ask(
        "NodeExpandVolume", pb.NodeExpandVolumeRequest(volume_id="pvc-1", capacity_range=small)
    )
    assert grown.capacity_bytes == 1 << 20
    refused = pb.NodeExpandVolumeRequest(volume_id="pvc-1", capacity_range=large)
    assert await kubelet.code(kubelet.ask("NodeExpandVolume", refused)) == "OUT_OF_RANGE"
