"""Volumes as disks of domains: what follows from what libvirt says, and what it is told."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kybern.cloud.libvirt import disks, loops
from kybern.cloud.libvirt.disks import Disk, Host, Place, place_of
from kybern.cloud.provider import CloudError, Impossible, InUse

PLACE = Place("rack-1", "default", "pvc-1")
PATH = "/pools/default/pvc-1"
DISK = Disk("vdb", PLACE.serial, PATH, "<disk/>")
N1 = Host("lab-n1", "lab", "n1", "kvm", running=True, disks=(Disk("vda", "", "/n1.qcow2", ""),))
N2 = Host("lab-n2", "lab", "n2", "kvm", running=True)
LXC = replace(N1, name="lab-c1", node="c1", kind="lxc", disks=())
XML = """<domain type='kvm'><name>lab-n1</name><metadata>
<k:machine xmlns:k='urn:kybern:machine:1' cluster='lab' name='n1'/></metadata><devices>
<disk type='file' device='disk'><source file='/n1.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='block' device='disk'><source dev='/dev/vg/x'/><target dev='vdb'/><serial>S</serial></disk>
<disk type='file' device='cdrom'><target dev='sda'/></disk></devices></domain>"""


def test_a_domain_is_read_with_its_disks() -> None:
    found = disks.read(XML, running=True)

    assert (found.name, found.cluster, found.node, found.kind, found.holds) == (
        "lab-n1", "lab", "n1", "kvm", False,
    )  # fmt: skip
    assert [(one.target, one.serial, one.source) for one in found.disks] == [
        ("vda", "", "/n1.qcow2"),
        ("vdb", "S", "/dev/vg/x"),
        ("sda", "", ""),
    ]
    assert "<serial>S</serial>" in found.disks[1].xml


@pytest.mark.parametrize("handle", ["", "a/b", "a/b/c/d", "a/../c", "a/b/", "/b/c", "a/b/c d", "a/.b/c"])
def test_what_is_no_handle_is_refused(handle: str) -> None:
    with pytest.raises(Impossible, match="it is not HYPERVISOR/POOL/NAME"):
        place_of(handle)


def test_a_handle_is_its_place() -> None:
    assert place_of(str(PLACE)) == PLACE
    assert len(PLACE.serial) == 20
    assert PLACE.serial != replace(PLACE, pool="other").serial


def test_a_machine_gets_a_volume_by_the_first_name_that_is_free() -> None:
    assert disks.target_for((N1, N2), "lab", "n1", PLACE, PATH) == (N1, "vdb")
    assert disks.target_for((N1, N2), "lab", "n2", PLACE, PATH) == (N2, "vdb")
    with_one = replace(N1, disks=(*N1.disks, Disk("vdb", "other", "/other", "")))
    assert disks.target_for((with_one,), "lab", "n1", PLACE, PATH) == (with_one, "vdc")


def test_what_a_machine_has_already_stays_where_it_is() -> None:
    has = replace(N1, disks=(replace(DISK, target="vdq"),))
    assert disks.target_for((has, N2), "lab", "n1", PLACE, PATH) == (has, "vdq")


@pytest.mark.parametrize(
    ("hosts", "node", "why"),
    [
        ((N1,), "n2", "rack-1 has no machine n2"),
        ((replace(N1, cluster="other"),), "n1", "rack-1 has no machine n1"),
        ((N1, replace(N1, name="copy")), "n1", "lab-n1 and copy are both called so"),
        ((replace(N1, running=False),), "n1", "the machine of n1 is switched off"),
        ((N1, replace(N2, disks=(DISK,))), "n1", "n2 has it"),
        ((N1, Host("strange", "", "", "kvm", running=False, disks=(DISK,))), "n1", "strange has it"),
        ((N1, replace(N2, disks=(replace(DISK, serial=""),))), "n1", "n2 has it"),
        (
            (replace(N1, disks=tuple(Disk(f"vd{one}", one, one, "") for one in "bcdefghijklmnopqrstuvwxy")),),
            "n1",
            "n1 has 24 volumes already",
        ),
    ],
)
def test_why_a_machine_cannot_have_a_volume_is_told(hosts: tuple[Host, ...], node: str, why: str) -> None:
    with pytest.raises(CloudError, match=why):
        disks.target_for(hosts, "lab", node, PLACE, PATH)


def test_what_holds_a_loop_device_is_no_user_of_it() -> None:
    holder = disks.read(disks.holder(PLACE, PATH), running=True)

    assert (holder.name, holder.holds) == (PLACE.holder, True)
    assert holder.disk("", PATH) is not None
    assert disks.user_of((holder,), PLACE.serial, PATH) is None
    disks.refuse_user((holder, N1), PLACE, PATH, "delete")
    with pytest.raises(InUse, match=r"cannot delete volume rack-1/default/pvc-1: n2 has it"):
        disks.refuse_user((holder, replace(N2, disks=(DISK,))), PLACE, PATH, "delete")


def test_a_file_whose_path_no_loop_device_takes_is_told() -> None:
    with pytest.raises(CloudError, match="longer than 63 characters"):
        disks.holder(PLACE, "/" + "x" * 63)


def test_a_virtual_machine_s_disk_shows_its_serial_number() -> None:
    xml = ET.fromstring(disks.disk(N1, PATH, "vdb", PLACE.serial, is_block=False))

    assert (xml.get("type"), xml.findtext("serial")) == ("file", PLACE.serial)
    assert xml.find("source").attrib == {"file": PATH}  # type: ignore[union-attr]  # it is there
    assert disks.told(N1, "vdb", PLACE) == {"serial": PLACE.serial}


def test_a_container_s_disk_is_a_device_by_its_name() -> None:
    xml = ET.fromstring(disks.disk(LXC, "/dev/loop3", "vdb", PLACE.serial, is_block=False))

    assert xml.get("type") == "block"
    assert xml.find("source").attrib == {"dev": "/dev/loop3"}  # type: ignore[union-attr]  # it is there
    assert disks.told(LXC, "vdb", PLACE) == {"device": "/dev/vdb"}


def test_files_take_room_when_they_are_written_and_are_promised_it_before() -> None:
    volumes = ((100, 10), (50, 50), (10, 20))
    assert disks.left(1000, volumes, "dir") == 1000 - 90
    assert disks.left(1000, volumes, "logical") == 1000
    assert disks.left(10, volumes, "dir") == 0
    assert '<allocation unit="bytes">0<' in disks.volume("x", 7, "dir")
    assert '<allocation unit="bytes">7<' in disks.volume("x", 7, "logical")


def test_names_in_a_pool_are_short_and_differ() -> None:
    first, second = (disks.short(f"pvc-00000000-0000-0000-0000-00000000000{one}") for one in (1, 2))
    assert first != second
    assert len(first) == 24
    assert first.startswith("pvc-")


def test_a_loop_device_is_found_by_its_file(tmp_path: Path) -> None:
    for name, file in (("loop0", "/other"), ("loop11", PATH)):
        (tmp_path / name / "loop").mkdir(parents=True)
        (tmp_path / name / "loop/backing_file").write_text(f"{file}\n")
    (tmp_path / "vda").mkdir()

    assert loops.device(PATH, tmp_path) == "/dev/loop11"
    assert loops.device(PATH + "x", tmp_path) == ""
