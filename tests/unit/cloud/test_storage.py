"""What libvirt is told about volumes, in its own classes' place: domains and pools that are dicts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from kybern.cloud.libvirt.disks import Place
from kybern.cloud.provider import CloudError, InUse, NoRoom

libvirt = pytest.importorskip("libvirt")

from kybern.cloud.libvirt import loops, storage  # noqa: E402

PLACE, COPY = Place("rack-1", "default", "pvc-1"), Place("rack-1", "default", "snapshot-1")


class Missing(libvirt.libvirtError):  # type: ignore[misc,name-defined]  # it has no types
    def __init__(self, code: int) -> None:
        super().__init__("not found")
        self.code = code

    def get_error_code(self) -> int:
        return self.code


@dataclass
class Volume:
    pool: "Pool"
    name: str
    size: int
    content: str = ""

    def info(self) -> list[int]:
        return [0 if self.pool.sort == "dir" else 1, self.size, 0]

    def path(self) -> str:
        return f"/pools/{self.name}" if self.pool.sort == "dir" else f"/dev/vg/{self.name}"

    def resize(self, size: int, _flags: int) -> None:
        self.size = size

    def delete(self, _flags: int) -> None:
        del self.pool.volumes[self.name]


@dataclass
class Pool:
    sort: str = "dir"
    available: int = 1000
    active: bool = True
    volumes: dict[str, Volume] = field(default_factory=dict)

    def isActive(self) -> bool:  # noqa: N802  # libvirt's names
        return self.active

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return f"<pool type='{self.sort}'/>"

    def info(self) -> list[int]:
        return [2, 0, 0, self.available]

    def listAllVolumes(self) -> list[Volume]:  # noqa: N802
        return list(self.volumes.values())

    def storageVolLookupByName(self, name: str) -> Volume:  # noqa: N802
        if name not in self.volumes:
            raise Missing(libvirt.VIR_ERR_NO_STORAGE_VOL)
        return self.volumes[name]

    def createXML(self, xml: str, _flags: int, content: str = "") -> Volume:  # noqa: N802
        top = ET.fromstring(xml)
        made = Volume(self, top.findtext("name", ""), int(top.findtext("capacity", "0")), content)
        assert made.name not in self.volumes
        self.volumes[made.name] = made
        return made

    def createXMLFrom(self, xml: str, origin: Volume, flags: int) -> Volume:  # noqa: N802
        return self.createXML(xml, flags, origin.content)


@dataclass
class Domain:
    connection: "Connection"
    xml: Any
    running: bool = True

    def isActive(self) -> bool:  # noqa: N802
        return self.running

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return ET.tostring(self.xml, encoding="unicode")

    def attachDeviceFlags(self, xml: str, flags: int) -> None:  # noqa: N802
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE
        self.xml.find("devices").append(ET.fromstring(xml))

    def detachDeviceFlags(self, xml: str, _flags: int) -> None:  # noqa: N802
        if not self.connection.stubborn:
            devices, target = self.xml.find("devices"), ET.fromstring(xml).find("target").get("dev")  # type: ignore[union-attr]  # it is there
            devices.remove(next(one for one in devices if one.find("target").get("dev") == target))

    def blockResize(self, target: str, size: int, _flags: int) -> None:  # noqa: N802
        self.connection.resized.append((target, size))

    def destroy(self) -> None:
        del self.connection.domains[self.xml.findtext("name")]


class Connection:
    """``stubborn``: guests do not let their disks go."""

    def __init__(self, kind: str = "kvm", sort: str = "dir") -> None:
        self.pool = Pool(sort)
        self.domains: dict[str, Domain] = {}
        self.stubborn = False
        self.resized: list[tuple[str, int]] = []
        for name in ("n1", "n2"):
            self.createXML(
                f"<domain type='{kind}'><name>lab-{name}</name><metadata><k:machine cluster='lab' name='{name}'"
                " xmlns:k='urn:kybern:machine:1'/></metadata><devices/></domain>"
            )

    def storagePoolLookupByName(self, name: str) -> Pool:  # noqa: N802
        if name != "default":
            raise Missing(libvirt.VIR_ERR_NO_STORAGE_POOL)
        return self.pool

    def listAllDomains(self) -> list[Domain]:  # noqa: N802
        return list(self.domains.values())

    def lookupByName(self, name: str) -> Domain:  # noqa: N802
        if name not in self.domains:
            raise Missing(libvirt.VIR_ERR_NO_DOMAIN)
        return self.domains[name]

    def createXML(self, xml: str, _flags: int = 0) -> None:  # noqa: N802
        top = ET.fromstring(xml)
        self.domains[top.findtext("name", "")] = Domain(self, top)


def test_a_volume_is_made_once_and_goes_once() -> None:
    at = Connection()
    assert [storage.create(at, PLACE, 100) for _ in range(2)] == [100, 100]
    assert [*at.pool.volumes] == ["pvc-1"]
    assert storage.room(at, "default") == 900
    assert storage.room(at, "other") is None
    for _ in range(2):
        storage.delete(at, PLACE)
    assert at.pool.volumes == {}


def test_what_was_half_made_is_made_whole() -> None:
    at = Connection()
    storage.create(at, PLACE, 10)
    assert storage.create(at, PLACE, 100) == 100


def test_no_more_is_made_than_there_is() -> None:
    at = Connection()
    storage.create(at, PLACE, 600)
    with pytest.raises(NoRoom, match="500 bytes are asked for, 400 are left"):
        storage.create(at, COPY, 500)
    with pytest.raises(NoRoom, match="401 bytes are asked for"):
        storage.expand(at, PLACE, 1001)
    assert [*at.pool.volumes] == ["pvc-1"]


def test_a_pool_that_is_not_started_has_no_room_and_loses_nothing() -> None:
    at = Connection()
    storage.create(at, PLACE, 100)
    at.pool.active = False
    assert storage.room(at, "default") is None
    with pytest.raises(CloudError, match="it is not started"):
        storage.delete(at, PLACE)
    assert [*at.pool.volumes] == ["pvc-1"]


@pytest.mark.parametrize("sort", ["dir", "logical"])
def test_a_virtual_machine_gets_a_volume_grows_it_and_gives_it_back(sort: str) -> None:
    at = Connection(sort=sort)
    storage.create(at, PLACE, 100)
    for _ in range(2):
        assert storage.attach(at, PLACE, "lab", "n1") == {"serial": PLACE.serial}

    with pytest.raises(InUse, match="n1 has it"):
        storage.attach(at, PLACE, "lab", "n2")
    with pytest.raises(InUse, match="n1 has it"):
        storage.delete(at, PLACE)
    with pytest.raises(InUse, match="n1 has it"):
        storage.clone(at, COPY, PLACE, 0)
    assert storage.expand(at, PLACE, 200) == 200
    assert at.resized == [("vdb", 200)]
    for _ in range(2):
        storage.detach(at, PLACE, "lab", "n1")
    assert storage.attach(at, PLACE, "lab", "n2") == {"serial": PLACE.serial}


def test_a_guest_that_does_not_let_go_is_waited_for() -> None:
    at = Connection()
    storage.create(at, PLACE, 100)
    storage.attach(at, PLACE, "lab", "n1")
    at.stubborn = True
    with pytest.raises(CloudError, match="n1 has not let it go"):
        storage.detach(at, PLACE, "lab", "n1")


def test_a_machine_that_is_off_or_gone_has_no_volumes() -> None:
    at = Connection()
    storage.create(at, PLACE, 100)
    storage.attach(at, PLACE, "lab", "n1")
    at.domains["lab-n1"].xml.find("devices").clear()  # a live disk is none of its lasting definition
    at.domains["lab-n1"].running = False
    storage.detach(at, PLACE, "lab", "n1")
    del at.domains["lab-n1"]
    storage.detach(at, PLACE, "lab", "n1")
    storage.attach(at, PLACE, "lab", "n2")


def test_a_container_gets_the_loop_device_of_a_holder_which_goes_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at = Connection("lxc")
    storage.create(at, PLACE, 100)
    monkeypatch.setattr(loops, "device", lambda path: "/dev/loop7" if PLACE.holder in at.domains else "")
    for _ in range(2):
        assert storage.attach(at, PLACE, "lab", "n1") == {"device": "/dev/vdb"}
    (disk,) = at.domains["lab-n1"].xml.iterfind("devices/disk")
    assert disk.find("source").attrib == {"dev": "/dev/loop7"}
    assert PLACE.holder in at.domains
    assert storage.expand(at, PLACE, 200) == 200
    assert at.resized == []
    storage.detach(at, PLACE, "lab", "n1")
    assert PLACE.holder not in at.domains


def test_a_loop_device_that_cannot_be_seen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Connection("lxc")
    storage.create(at, PLACE, 100)
    monkeypatch.setattr(loops, "device", lambda path: "")
    with pytest.raises(CloudError, match="containers of another host need a pool of devices"):
        storage.attach(at, PLACE, "lab", "n1")
    storage.delete(at, PLACE)
    assert PLACE.holder not in at.domains


def test_a_copy_is_of_the_whole_and_what_is_left_of_an_earlier_one_goes() -> None:
    at = Connection()
    storage.create(at, PLACE, 100)
    at.pool.volumes["pvc-1"].content = "kept"
    storage.create(at, COPY, 10)
    assert storage.clone(at, COPY, PLACE, 300) == 300
    assert at.pool.volumes["snapshot-1"].content == "kept"
    with pytest.raises(CloudError, match="it is gone"):
        storage.clone(at, PLACE, Place("rack-1", "default", "none"), 0)
    assert at.pool.volumes["pvc-1"].content == "kept"
