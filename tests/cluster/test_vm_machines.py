"""What only virtual machines have: disks beside their own, UEFI, a start with the host, growth, snapshots.

The machine is no cluster: nothing is deployed on it.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kybern.machines import driver
from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import Lab

pytestmark = [pytest.mark.vm, pytest.mark.operations, pytest.mark.timeout(3000)]
NAME, NODE, MIB = "vmdisks", "node-1", 2**20
MACHINE = {
    "name": NODE,
    "address": "10.46.0.11",
    "roles": ["etcd", "control-plane", "worker"],
    "memory": "1GiB",
    "disk": "4GiB",
    "disks": ["64MiB"],
    "autostart": True,
}


class Alone:
    """One machine of a topology in a file, which a test writes anew."""

    def __init__(self, place: Path) -> None:
        self.path = place / f"{NAME}.yaml"
        self.write()
        self.lab = Lab(load(self.path))

    def write(self, **more: object) -> None:
        topology = {"cluster": NAME, "network": "10.46.0.0/24", "driver": "qemu"}
        self.path.write_text(yaml.safe_dump(topology | {"machines": [MACHINE | more]}))

    def up(self) -> str:
        return self.lab.kybern("machines", "up", str(self.path), seconds=900).stdout

    def snapshot(self, *words: str) -> str:
        return self.lab.kybern(
            "machines", "snapshot", words[0], str(self.path), *words[1:], seconds=900
        ).stdout

    def run(self, command: str) -> str:
        return self.lab.ssh(NODE, command).strip()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("there is no qemu; install qemu-system-x86")
    made = Alone(tmp_path_factory.mktemp("alone"))
    made.up()
    yield made
    made.lab.kybern("machines", "down", str(made.path), seconds=300)
    assert not (driver.STORE / NAME).exists()
    assert not State.of(NAME).directory.exists()


def domain(*words: str) -> str:
    done = subprocess.run(
        ["virsh", "--connect", "qemu:///system", *words],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout


def size(alone: Alone, device: str) -> int:
    """MiB."""
    return int(alone.run(f"blockdev --getsize64 {device}")) // MIB


def test_a_disk_more_is_found_by_its_name(alone: Alone) -> None:
    assert size(alone, "/dev/disk/by-id/virtio-data-1") == 64
    assert "enable" in domain("dominfo", f"{NAME}-{NODE}").split("Autostart:")[1].splitlines()[0]
    assert " 0 changes" in alone.up()


def test_disks_grow_and_what_is_on_them_stays(alone: Alone) -> None:
    alone.run("mkfs.ext4 -q /dev/disk/by-id/virtio-data-1 && mount /dev/disk/by-id/virtio-data-1 /mnt")
    alone.run("echo kept >/mnt/file && sync && umount /mnt")
    alone.write(disk="6GiB", disks=["128MiB", "32MiB"], memory="1280MiB")
    assert " 1 changes" in alone.up()

    assert [size(alone, f"/dev/disk/by-id/virtio-data-{number}") for number in (1, 2)] == [128, 32]
    assert alone.run("mount /dev/disk/by-id/virtio-data-1 /mnt && cat /mnt/file && umount /mnt") == "kept"
    (root,) = json.loads(alone.run("findmnt --json --bytes --output SIZE /"))["filesystems"]
    assert int(root["size"]) > 5 * 1024 * MIB, "its root grew with its disk"
    alone.write(disk="6GiB", disks=["128MiB"], memory="1280MiB")
    refused = alone.lab.kybern("machines", "up", str(alone.path), check=False)
    assert refused.returncode == 1
    assert "cannot let data-2 of node-1 go" in refused.stderr
    alone.write(disk="6GiB", disks=["128MiB", "32MiB"], memory="1280MiB")


def test_a_snapshot_brings_back_the_disks(alone: Alone) -> None:
    alone.run("echo before >/root/file && sync")
    assert "of 1 machines taken" in alone.snapshot("take", "quiet")
    alone.run("echo after >/root/file && sync")
    assert "quiet" in alone.snapshot("list")

    assert "1 run" in alone.snapshot("return", "quiet")

    assert alone.run("cat /root/file") == "before"
    alone.snapshot("remove", "quiet")
    assert alone.snapshot("list") == "No snapshots.\n"


def test_a_machine_starts_with_uefi(alone: Alone) -> None:
    if not any(Path("/usr/share/qemu/firmware").glob("*edk2*x86_64*.json")):
        pytest.skip("there is no UEFI for virtual machines; install ovmf")
    assert alone.run("test -d /sys/firmware/efi || echo bios") == "bios"
    alone.write(disk="6GiB", disks=["128MiB", "32MiB"], memory="1280MiB", firmware="uefi")

    assert " 1 changes" in alone.up()

    assert alone.run("test -d /sys/firmware/efi && echo uefi") == "uefi"
