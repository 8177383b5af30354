"""Volumes as disks of domains: what libvirt is told, and what of its answers counts. Pure: XML in and out.

A volume is a raw one of a pool, and is known at a domain by its serial number, which a virtual machine shows to its guest
(/dev/disk/by-id/virtio-SERIAL). A container is given the device itself; for a file that is a loop device, which libvirt
makes only for containers that start: so each such volume has a *holder*, a container that does nothing but start with it,
and the loop device is there for as long as the holder is. Nothing is written into the lasting definition of a domain: a
machine that starts again has no volumes until the attacher, which looks every minute, gives them back.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any
from xml.etree import ElementTree as ET

from kybern.cloud.provider import CloudError, Impossible, InUse
from kybern.machines.xml import URN, VOLUMES, element

HOLDER_URN = "urn:kybern:volume:1"
SPARSE = frozenset({"dir", "fs", "netfs"})
"""Sorts of pools whose volumes are files: they take room when they are written to."""
_TARGETS = tuple(f"vd{letter}" for letter in ascii_lowercase[1 : VOLUMES + 1])
LONGEST = 63
"""Characters of a file's path that libvirt can make a loop device of (LO_NAME_SIZE of linux/loop.h)."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62})")
_LXC = "lxc"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume is. Its text is the volume's handle."""

    hypervisor: str
    pool: str
    name: str

    def __str__(self) -> str:
        return f"{self.hypervisor}/{self.pool}/{self.name}"

    @property
    def serial(self) -> str:
        """Twenty characters are all that a virtio disk has room for."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:20]

    @property
    def holder(self) -> str:
        return f"kybern-volume-{self.serial}"


def place_of(handle: str) -> Place:
    """Raises Impossible for what is no handle of ours."""
    parts = handle.split("/")
    if len(parts) != 3 or not all(_NAME.fullmatch(one) for one in parts):
        raise Impossible(f'cannot find volume "{handle}": it is not HYPERVISOR/POOL/NAME')
    return Place(*parts)


def short(name: str) -> str:
    """The name of a volume in its pool: a UID would leave too little for the directory of a loop device's file."""
    return f"{name.partition('-')[0]}-{hashlib.sha256(name.encode()).hexdigest()[:20]}"


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of a domain; ``xml`` is all that libvirt says of it."""

    target: str
    serial: str
    source: str
    xml: str


@dataclass(frozen=True, slots=True)
class Host:
    """A domain with its disks, a machine of ours or another one. ``node`` empty: it is no machine of any cluster."""

    name: str
    cluster: str
    node: str
    kind: str
    running: bool
    disks: tuple[Disk, ...] = ()
    holds: bool = False

    @property
    def is_container(self) -> bool:
        return self.kind == _LXC

    def disk(self, serial: str, path: str = "") -> Disk | None:
        """The disk that is the volume: by its serial number, or because it is that file or device."""
        return next(
            (one for one in self.disks if one.serial == serial or (path and one.source == path)), None
        )


def read(xml: str, *, running: bool) -> Host:
    """Of any domain's XML."""
    top = ET.fromstring(xml)  # noqa: S314  # libvirt's own output
    ours = top.find(f"metadata/{{{URN}}}machine")
    said = ours.attrib if ours is not None else {}
    return Host(
        name=top.findtext("name", ""),
        cluster=said.get("cluster", ""),
        node=said.get("name", ""),
        kind=top.get("type", ""),
        running=running,
        disks=tuple(_disk(one) for one in top.iterfind("devices/disk")),
        holds=top.find(f"metadata/{{{HOLDER_URN}}}volume") is not None,
    )


def _disk(found: Any) -> Disk:
    target, source = found.find("target"), found.find("source")
    path = (source.get("file") or source.get("dev") or "") if source is not None else ""
    return Disk(
        target=target.get("dev", "") if target is not None else "",
        serial=found.findtext("serial", ""),
        source=path,
        xml=ET.tostring(found, encoding="unicode"),
    )


def user_of(hosts: Iterable[Host], serial: str, path: str) -> Host | None:
    """Whoever has the volume; what only holds it for others does not count."""
    return next((one for one in hosts if not one.holds and one.disk(serial, path) is not None), None)


def refuse_user(hosts: Iterable[Host], place: Place, path: str, what: str) -> None:
    """Raises InUse when a machine has the volume."""
    user = user_of(hosts, place.serial, path)
    if user is not None:
        raise InUse(f"cannot {what} volume {place}: {user.node or user.name} has it")


def machine_of(hosts: Iterable[Host], cluster: str, node: str) -> Host | None:
    """Raises CloudError where two are called so."""
    found = [one for one in hosts if (one.cluster, one.node) == (cluster, node)]
    if len(found) > 1:
        names = " and ".join(one.name for one in found)
        raise CloudError(f"cannot tell which machine is {node}: {names} are both called so")
    return found[0] if found else None


def target_for(hosts: tuple[Host, ...], cluster: str, node: str, place: Place, path: str) -> tuple[Host, str]:
    """The machine that is to have the volume, and the name that its disk has there, or is to have.

    Raises InUse, CloudError.
    """
    machine = machine_of(hosts, cluster, node)
    if machine is None:
        raise CloudError(f"cannot attach volume {place}: {place.hypervisor} has no machine {node}")
    if not machine.running:
        raise CloudError(f"cannot attach volume {place}: the machine of {node} is switched off")
    there = machine.disk(place.serial, path)
    if there is not None:
        return machine, there.target
    refuse_user(hosts, place, path, "attach")
    taken = {one.target for one in machine.disks}
    free = next((one for one in _TARGETS if one not in taken), "")
    if not free:
        raise CloudError(
            f"cannot attach volume {place}: {node} has {VOLUMES} volumes already, and no more fit"
        )
    return machine, free


def told(machine: Host, target: str, place: Place) -> dict[str, str]:
    """What the node is told to find the device by. The names of a guest's disks are its own business."""
    return {"device": f"/dev/{target}"} if machine.is_container else {"serial": place.serial}


def disk(machine: Host, path: str, target: str, serial: str, *, is_block: bool) -> str:
    """The volume as a disk of a machine. Of a container the path is a device in any case."""
    if machine.is_container:
        driver = {"name": "phy", "type": "raw"}
    else:
        driver = {"name": "qemu", "type": "raw", "cache": "writeback", "discard": "unmap"}
    source = {"dev": path} if is_block or machine.is_container else {"file": path}
    sort = "file" if "file" in source else "block"
    return _text(
        element(
            "disk",
            {"type": sort, "device": "disk"},
            element("driver", driver),
            element("source", source),
            element("target", {"dev": target, "bus": "virtio"}),
            element("serial", None, serial),
        )
    )


def holder(place: Place, path: str) -> str:
    """A container that starts with the file as a disk, for which libvirt makes a loop device, and then does nothing.

    Raises CloudError.
    """
    if len(path) > LONGEST:
        raise CloudError(
            f"cannot attach volume {place}: {path} is longer than {LONGEST} characters, "
            "which is all that a loop device takes; have the pool in another directory"
        )
    return _text(
        element(
            "domain",
            {"type": _LXC},
            element("name", None, place.holder),
            element("metadata", None, element(f"{{{HOLDER_URN}}}volume", {"handle": place})),
            element("memory", {"unit": "MiB"}, "16"),
            element("vcpu", None, "1"),
            element(
                "os",
                None,
                element("type", None, "exe"),
                element("init", None, "/bin/sleep"),
                element("initarg", None, "infinity"),
            ),
            element("features", None, element("privnet")),
            element(
                "devices",
                None,
                element(
                    "disk",
                    {"type": "file", "device": "disk"},
                    element("driver", {"name": "loop", "type": "raw"}),
                    element("source", {"file": path}),
                    element("target", {"dev": "vda", "bus": "virtio"}),
                ),
                element("console", {"type": "pty"}),
            ),
        )
    )


def volume(name: str, size: int, sort: str) -> str:
    """A raw volume of ``size`` bytes in a pool of that sort. One that is no file has its room at once."""
    return _text(
        element(
            "volume",
            None,
            element("name", None, name),
            element("capacity", {"unit": "bytes"}, str(size)),
            element("allocation", {"unit": "bytes"}, "0" if sort in SPARSE else str(size)),
            element("target", None, element("format", {"type": "raw"})),
        )
    )


def sort_of(pool: str) -> str:
    """The sort of a pool, of its XML: dir, logical, ..."""
    return ET.fromstring(pool).get("type", "")  # noqa: S314  # libvirt's own output


def left(available: int, volumes: Iterable[tuple[int, int]], sort: str) -> int:
    """Bytes that a pool can promise still: sparse volumes, of capacities and allocations, will want theirs one day."""
    promised = sum(max(0, capacity - taken) for capacity, taken in volumes) if sort in SPARSE else 0
    return max(0, available - promised)


def _text(top: Any) -> str:
    return ET.tostring(top, encoding="unicode")
