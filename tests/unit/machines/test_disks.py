"""Bytes that a virtual machine reads before it is one."""

import struct
import tarfile
from dataclasses import replace
from io import BytesIO
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from kybern.machines import box, qemu
from kybern.machines.errors import MachineError
from kybern.machines.plan import wanted
from kybern.machines.state import File
from kybern.machines.topology import Attached, Cluster


def test_settings_are_an_archive_of_whole_sectors_with_their_modes() -> None:
    made = qemu.archive((File("etc/hostname", b"a\n"), File("root/.ssh/authorized_keys", b"k\n", 0o600)))

    assert len(made) % 512 == 0
    with tarfile.open(fileobj=BytesIO(made)) as archive:
        modes = {member.name: member.mode for member in archive}
    assert modes == {"etc/hostname": 0o644, "root/.ssh": 0o700, "root/.ssh/authorized_keys": 0o600}


def test_a_machine_finds_its_interface_by_its_hardware_address(cluster: Cluster) -> None:
    target = wanted(cluster)[0]

    (made,) = qemu.links(target)
    text = made.content.decode()

    assert f"MACAddress={target.mac}\n" in text
    assert "Address=10.9.0.11/24\nGateway=10.9.0.1\n" in text


def test_each_further_network_is_an_interface_with_an_address_or_without(cluster: Cluster) -> None:
    target = wanted(cluster)[0]
    networks = (Attached("bridge", "br1", IPv4Interface("10.50.0.11/24")), Attached("network", "isolated"))
    target = replace(target, machine=replace(target.machine, networks=networks))

    first, second, third = qemu.links(target)

    assert first == qemu.links(wanted(cluster)[0])[0]
    assert (second.path, third.path) == (
        "etc/systemd/network/10-eth1.network",
        "etc/systemd/network/10-eth2.network",
    )
    assert f"MACAddress={target.mac_of(1)}\n" in second.content.decode()
    assert "Address=10.50.0.11/24\n" in second.content.decode()
    assert "Gateway" not in second.content.decode(), "the first has it"
    assert "LinkLocalAddressing=no\n" in third.content.decode()
    assert len({target.mac, target.mac_of(1), target.mac_of(2)}) == 3


def test_a_boxs_partitions_follow_each_other_and_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mbr.bin").write_bytes(b"\xfa" * 440)
    monkeypatch.setattr(box, "BOOT_RECORDS", (tmp_path / "mbr.bin",))

    sector = box.partitions()

    assert (len(sector), sector[:440], sector[510:]) == (512, b"\xfa" * 440, b"\x55\xaa")
    boot, root = (struct.unpack("<B3xB3xII", sector[start : start + 16]) for start in (446, 462))
    assert (boot[0], boot[1], root[1]) == (0x80, 0x0C, 0x83)
    assert boot[2] + boot[3] == root[2]
    assert root[2] + root[3] == box.SIZE * 2048


def test_what_a_box_is_made_with_is_named_before_minutes_are_spent() -> None:
    with pytest.raises(MachineError, match="'apt install dosfstools mtools'"):
        box.refuse_without_tools(lambda tool: "/usr/bin/syslinux" if tool == "syslinux" else None)
    box.refuse_without_tools(lambda tool: f"/usr/bin/{tool}")
