"""Volumes at a virtual machine of a real QEMU: what libvirt takes of our XML, and how many fit. No guest runs in it.

The machine is one as ``kybern machines`` defines it, less its disks, started without letting it run.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from kybern.cloud.libvirt.disks import Place
from kybern.cloud.provider import CloudError, InUse
from kybern.machines import xml
from kybern.machines.plan import Wanted
from kybern.machines.topology import Machine

libvirt = pytest.importorskip("libvirt")

from kybern.cloud.libvirt import storage  # noqa: E402

POOL, CLUSTER, NODE = "kybern-tests-qemu", "kybern-tests", "q1"
BOOT = xml.Boot(Path("/boot/none"), Path("/boot/none"), "")


def _answers() -> bool:
    try:
        libvirt.open("qemu:///system").close()
    except libvirt.libvirtError:
        return False
    return True


pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.skipif(
        os.geteuid() != 0 or not _answers(),
        reason="needs root, and a libvirtd that answers for qemu:///system",
    ),
]


def definition() -> str:
    machine = Machine(NODE, IPv4Address("192.0.2.11"), frozenset({"worker"}), memory=64)
    network = IPv4Network("192.0.2.0/24")
    made = Wanted(CLUSTER, network, network[1], "qemu", machine, takes_volumes=True)
    top = ET.fromstring(xml.qemu(made, "qemu", BOOT, (), Path("/dev/null")))
    for parent, tags in (
        ("devices", ("interface", "serial", "console", "rng")),
        ("os", ("kernel", "initrd", "cmdline")),
    ):
        found = top.find(parent)
        assert found is not None
        for tag in tags:
            for one in found.findall(tag):
                found.remove(one)
    return ET.tostring(top, encoding="unicode")


@dataclass
class Bed:
    connection: Any
    pool: Any
    domain: Any


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """A machine that is there and does not run, and a pool."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)  # QEMU has a user of its own
    connection = libvirt.open("qemu:///system")
    text = f"<pool type='dir'><name>{POOL}</name><target><path>{tmp_path}</path></target></pool>"
    pool = connection.storagePoolCreateXML(text)
    try:
        domain = connection.createXML(definition(), libvirt.VIR_DOMAIN_START_PAUSED)
        yield Bed(connection, pool, domain)
        with contextlib.suppress(libvirt.libvirtError):  # it has gone in the test
            domain.destroy()
    finally:
        pool.destroy()
        connection.close()


def test_a_machine_takes_two_dozen_volumes_and_each_grows(bed: Bed) -> None:
    at = bed.connection
    places = [Place("h1", POOL, f"v{number}") for number in range(xml.VOLUMES)]
    for place in places:
        storage.create(at, place, 1 << 20)
        for _ in range(2):
            assert storage.attach(at, place, CLUSTER, NODE) == {"serial": place.serial}
    assert bed.domain.XMLDesc(0).count("<serial>") == xml.VOLUMES
    assert storage.expand(at, places[0], 1 << 21) == 1 << 21
    assert bed.domain.blockInfo("vdb")[0] == 1 << 21
    with pytest.raises(InUse, match="q1 has it"):
        storage.delete(at, places[0])
    more = Place("h1", POOL, "more")
    storage.create(at, more, 1 << 20)
    with pytest.raises(CloudError, match="q1 has 24 volumes already"):
        storage.attach(at, more, CLUSTER, NODE)
    # Nobody in it hears that its disk is to go.
    with pytest.raises(CloudError, match="q1 has not let it go"):
        storage.detach(at, places[0], CLUSTER, NODE)

    bed.domain.destroy()
    for place in (*places, more):
        storage.detach(at, place, CLUSTER, NODE)
        storage.delete(at, place)
    assert bed.pool.listAllVolumes() == []
