"""What the kubelet asks of the node's part of a cloud's volumes, by gRPC, with real devices, file systems and mounts.

The device is a loop device of a file, as containers of a hypervisor have it. Needs root.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kybern._proto import csi_pb2 as pb
from kybern._proto import csi_pb2_grpc as rpc
from kybern._proto import pluginregistration_pb2 as reg
from kybern._proto import pluginregistration_pb2_grpc as reg_rpc
from kybern.cloud.volumes.plugin import Plugin
from kybern.daemon import mounts

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists(),
    reason="needs root, loop devices and e2fsprogs",
)

WRITER = pb.AccessMode(mode=7)
MOUNTED = pb.VolumeCapability(mount=pb.MountVolume(fs_type="ext4"), access_mode=WRITER)
BLOCK = pb.VolumeCapability(block=pb.BlockVolume(), access_mode=WRITER)
MIB = 1 << 20


class Disk:
    """A file behind a loop device."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.size(16 * MIB)
        found = subprocess.run(
            ["losetup", "--find", "--show", str(file)], check=True, capture_output=True, text=True, timeout=30
        )
        self.device = found.stdout.strip()

    def size(self, size: int) -> None:
        with self.file.open("ab") as stream:
            stream.truncate(size)

    def gone(self) -> None:
        subprocess.run(["losetup", "--detach", self.device], check=True, timeout=30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    for one in sorted((m.point for m in mounts.mounts() if m.point.is_relative_to(tmp_path)), reverse=True):
        mounts.unmount(one)  # of a test that failed
    made.gone()


class Kubelet:
    """As the kubelet asks: ``code`` is what a call fails with."""

    def __init__(self, plugin: Plugin, root: Path, disk: Disk) -> None:
        self.plugin = plugin
        self.root = root
        self.told = {"device": disk.device}
        self.staging = root / "plugins/kubernetes.io/csi/volumes.kybern.io/x/globalmount"

    def target(self, name: str) -> Path:
        return self.root / "pods" / name / "volumes/kubernetes.io~csi/v/mount"

    async def ask(self, method: str, request: Any, stub: Any = rpc.NodeStub, registers: bool = False) -> Any:
        socket = self.plugin.registration if registers else self.plugin.endpoint
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(f"unix://{socket}", options=options) as channel:
            return await getattr(stub(channel), method)(request, timeout=20)

    async def stage(self, capability: Any = MOUNTED, told: dict[str, str] | None = None) -> None:
        await self.ask("NodeStageVolume", pb.NodeStageVolumeRequest(
            volume_id="v", publish_context=self.told if told is None else told,
            staging_target_path=str(self.staging), volume_capability=capability,
        ))  # fmt: skip

    async def unstage(self) -> None:
        request = pb.NodeUnstageVolumeRequest(volume_id="v", staging_target_path=str(self.staging))
        await self.ask("NodeUnstageVolume", request)

    async def publish(self, target: Path, capability: Any = MOUNTED, *, readonly: bool = False) -> None:
        await self.ask("NodePublishVolume", pb.NodePublishVolumeRequest(
            volume_id="v", publish_context=self.told, staging_target_path=str(self.staging),
            target_path=str(target), volume_capability=capability, readonly=readonly,
        ))  # fmt: skip

    async def unpublish(self, target: Path) -> None:
        request = pb.NodeUnpublishVolumeRequest(volume_id="v", target_path=str(target))
        await self.ask("NodeUnpublishVolume", request)

    async def expand(self, path: Path, size: int, capability: Any = MOUNTED, staging: str = "") -> int:
        found = await self.ask("NodeExpandVolume", pb.NodeExpandVolumeRequest(
            volume_id="v", volume_path=str(path), staging_target_path=staging,
            capacity_range=pb.CapacityRange(required_bytes=size), volume_capability=capability,
        ))  # fmt: skip
        return int(found.capacity_bytes)

    async def code(self, work: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await work
        return f"{refused.value.code().name}: {refused.value.details()}"


@pytest.fixture
async def kubelet(tmp_path: Path, disk: Disk) -> AsyncIterator[Kubelet]:
    root = tmp_path / "kubelet"
    plugin = Plugin("n1", root)
    async with plugin.served():
        yield Kubelet(plugin, root, disk)
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
    assert not plugin.registration.exists()


async def test_the_driver_says_who_it_is_and_how_many_volumes_a_machine_can_have(kubelet: Kubelet) -> None:
    about = await kubelet.ask("GetInfo", reg.InfoRequest(), reg_rpc.RegistrationStub, registers=True)
    able = await kubelet.ask("NodeGetCapabilities", pb.NodeGetCapabilitiesRequest())
    node = await kubelet.ask("NodeGetInfo", pb.NodeGetInfoRequest())

    assert (about.type, about.name) == ("CSIPlugin", "volumes.kybern.io")
    assert [one.rpc.type for one in able.capabilities] == [1, 2, 3, 5]
    assert (node.node_id, node.max_volumes_per_node) == ("n1", 24)
    assert not node.accessible_topology.segments


async def test_a_new_volume_is_formatted_once_and_keeps_what_is_written(kubelet: Kubelet) -> None:
    first, second = kubelet.target("a"), kubelet.target("b")
    for _ in range(2):
        await kubelet.stage()
        await kubelet.publish(first)
    await kubelet.publish(second, readonly=True)
    (first / "file").write_text("kept")
    assert (second / "file").read_text() == "kept"
    with pytest.raises(OSError, match="Read-only"):
        (second / "more").write_text("x")

    statistics = await kubelet.ask(
        "NodeGetVolumeStats", pb.NodeGetVolumeStatsRequest(volume_id="v", volume_path=str(first))
    )
    assert 8 * MIB < statistics.usage[0].total <= 16 * MIB
    for target in (first, second):
        for _ in range(2):
            await kubelet.unpublish(target)
        assert not target.exists()
    for _ in range(2):
        await kubelet.unstage()
    await kubelet.stage()
    assert (kubelet.staging / "file").read_text() == "kept"
    await kubelet.unstage()


def may_resize() -> bool:
    """The kernel lets nobody without CAP_SYS_RESOURCE resize a file system that is mounted."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 24 & 1)


@pytest.mark.skipif(not may_resize(), reason="needs CAP_SYS_RESOURCE")
async def test_a_volume_grows_while_a_pod_has_it(kubelet: Kubelet, disk: Disk) -> None:
    target = kubelet.target("a")
    await kubelet.stage()
    await kubelet.publish(target)
    before = os.statvfs(target).f_blocks
    assert "16777216 bytes so far" in await kubelet.code(
        kubelet.expand(target, 64 * MIB, staging=str(kubelet.staging))
    )
    disk.size(64 * MIB)
    for _ in range(2):
        assert await kubelet.expand(target, 64 * MIB, staging=str(kubelet.staging)) == 64 * MIB
    assert os.statvfs(target).f_blocks > 3 * before
    await kubelet.unpublish(target)
    await kubelet.unstage()


async def test_a_volume_that_grew_while_nobody_had_it_is_larger_at_once(kubelet: Kubelet, disk: Disk) -> None:
    await kubelet.stage()
    before = os.statvfs(kubelet.staging).f_blocks
    await kubelet.unstage()
    disk.size(64 * MIB)
    await kubelet.stage()
    assert os.statvfs(kubelet.staging).f_blocks > 3 * before
    await kubelet.unstage()


async def test_a_device_is_shown_as_a_device(kubelet: Kubelet, disk: Disk) -> None:
    target = kubelet.root / "plugins/kubernetes.io/csi/volumeDevices/publish/v/uid"
    await kubelet.stage(BLOCK)
    for _ in range(2):
        await kubelet.publish(target, BLOCK)
    assert target.is_block_device()
    assert target.stat().st_rdev == Path(disk.device).stat().st_rdev
    disk.size(64 * MIB)
    assert await kubelet.expand(target, 64 * MIB, BLOCK) == 64 * MIB
    for _ in range(2):
        await kubelet.unpublish(target)
    assert not target.exists()
    await kubelet.unstage()


async def test_data_that_is_no_file_system_of_that_kind_is_never_formatted(
    kubelet: Kubelet, disk: Disk
) -> None:
    subprocess.run(["mkfs.ext4", "-q", disk.device], check=True, timeout=60)
    other = pb.VolumeCapability(mount=pb.MountVolume(fs_type="xfs"), access_mode=WRITER)
    assert await kubelet.code(kubelet.stage(other)) == (
        "INTERNAL: failed to mount the volume as xfs, it already contains ext4"
    )
    strange = pb.VolumeCapability(mount=pb.MountVolume(fs_type="ntfs"), access_mode=WRITER)
    assert (await kubelet.code(kubelet.stage(strange))).startswith("INVALID_ARGUMENT: file system")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, 'NOT_FOUND: device "" is not there'),
        ({"device": "/dev/../etc/shadow"}, "NOT_FOUND: device"),
        ({"device": "/dev/vdzz"}, "NOT_FOUND: device"),
        ({"device": "/dev/null"}, "INTERNAL: /dev/null is no block device"),
        ({"serial": "no-such-number"}, "NOT_FOUND: no disk of this machine has the serial number"),
    ],
)
async def test_a_device_that_is_not_there_yet_is_told(
    kubelet: Kubelet, told: dict[str, str], why: str
) -> None:
    assert (await kubelet.code(kubelet.stage(told=told))).startswith(why)


PATH = {"volume_id": "v", "volume_capability": MOUNTED}


@pytest.mark.parametrize(
    ("method", "fields", "said"),
    [
        ("NodeStageVolume", {"volume_capability": MOUNTED}, "INVALID_ARGUMENT: volume_id is missing"),
        ("NodeStageVolume", {"volume_id": "v"}, "INVALID_ARGUMENT: volume_capability is missing"),
        ("NodeStageVolume", PATH, "INVALID_ARGUMENT: target path ''"),
        ("NodeUnstageVolume", {}, "INVALID_ARGUMENT: volume_id is missing"),
        ("NodeUnstageVolume", {"volume_id": "v"}, "INVALID_ARGUMENT: target path ''"),
        ("NodePublishVolume", {"volume_capability": MOUNTED}, "INVALID_ARGUMENT: volume_id is missing"),
        ("NodePublishVolume", {"volume_id": "v"}, "INVALID_ARGUMENT: volume_capability is missing"),
        ("NodePublishVolume", PATH, "FAILED_PRECONDITION: staging_target_path is missing"),
        ("NodePublishVolume", PATH | {"staging_target_path": "x"}, "INVALID_ARGUMENT: target path ''"),
        ("NodeUnpublishVolume", {}, "INVALID_ARGUMENT: volume_id is missing"),
        ("NodeUnpublishVolume", {"volume_id": "v"}, "INVALID_ARGUMENT: target path ''"),
        ("NodeGetVolumeStats", {"volume_path": "x"}, "INVALID_ARGUMENT: volume_id is missing"),
        ("NodeGetVolumeStats", {"volume_id": "v"}, "INVALID_ARGUMENT: target path ''"),
        ("NodeExpandVolume", {"volume_path": "x"}, "INVALID_ARGUMENT: volume_id is missing"),
        ("NodeExpandVolume", {"volume_id": "v"}, "INVALID_ARGUMENT: target path ''"),
    ],
)
async def test_what_a_call_must_have_is_named(
    kubelet: Kubelet, method: str, fields: dict[str, Any], said: str
) -> None:
    """The cases of csi-sanity, the test of drivers that CSI's own people keep."""
    request = getattr(pb, f"{method}Request")(**fields)
    assert (await kubelet.code(kubelet.ask(method, request))).startswith(said)


async def test_only_paths_of_the_kubelet_are_touched(kubelet: Kubelet, tmp_path: Path) -> None:
    await kubelet.stage()
    for wrong in (tmp_path / "elsewhere", kubelet.root / ".." / "x", kubelet.root):
        said = await kubelet.code(kubelet.publish(wrong))
        assert said.startswith("INVALID_ARGUMENT: target path")
    await kubelet.unstage()
    assert (await kubelet.code(kubelet.publish(kubelet.target("a")))).startswith("FAILED_PRECONDITION")


async def test_another_device_in_its_place_is_not_taken_for_the_volume(
    kubelet: Kubelet, tmp_path: Path
) -> None:
    other = Disk(tmp_path / "other")
    try:
        await kubelet.stage()
        said = await kubelet.code(kubelet.stage(told={"device": other.device}))
        assert said.startswith("FAILED_PRECONDITION")
        await kubelet.unstage()
    finally:
        other.gone()
    assert not mounts.is_mounted(kubelet.staging)
