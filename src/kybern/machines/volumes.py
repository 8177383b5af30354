"""Virtual machines on a hypervisor whose files are not ours to touch: storage is volumes of a pool, sent through libvirt.

Names in the pool tell whose a volume is, and dots part what names themselves cannot contain:

    kybern.CLUSTER.MACHINE.disk.qcow2            a layer over the image's disk
    kybern.CLUSTER.MACHINE.data-1.qcow2          a disk beside it
    kybern.CLUSTER.MACHINE.settings.tar          what makes the machine itself
    kybern-image.DIGEST.SENDER.disk.qcow2        the image, with .vmlinuz and .initrd.img
    kybern-image.DIGEST.SENDER.complete          empty, and made when all of those are whole

libvirt cannot rename a volume, so an image counts only with its mark. SENDER is the operator's host: two that send at once
do not touch each other's, and either uses what the other has completed. What a killed run has left goes when the same host
sends again.
"""

import functools
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from kybern.machines import images, qemu, xml
from kybern.machines.errors import MachineError
from kybern.machines.plan import Wanted
from kybern.machines.state import File

FILES = ("dir", "fs", "netfs", "gluster")
IMAGE = "kybern-image"
COMPLETE = "complete"
PARTS = (qemu.DISK, "vmlinuz", "initrd.img")
MIB = 2**20
PIECE = 2**20
# Of the pool, for each machine that is made: what it writes in its first minutes.
ROOM = 512


def volume(name: str, size: int, kind: str, backing: str = "", mode: str = "0600") -> str:
    """A volume's definition; ``size`` in bytes, as its machine sees it."""
    made = [
        xml.element("name", None, name),
        xml.element("capacity", {"unit": "bytes"}, str(size)),
        xml.element("allocation", None, "0"),
        xml.element(
            "target",
            None,
            xml.element("format", {"type": kind}),
            xml.element("permissions", None, xml.element("mode", None, mode)),
        ),
    ]
    if backing:
        made.append(
            xml.element(
                "backingStore",
                None,
                xml.element("path", None, backing),
                xml.element("format", {"type": "qcow2"}),
            )
        )
    return ET.tostring(xml.element("volume", None, *made), encoding="unicode")


def image_of(names: list[str], digest: str) -> str:
    """What the names of a whole image in a pool begin with; empty if there is none."""
    marks = sorted(
        name for name in names if name.startswith(f"{IMAGE}.{digest}.") and name.endswith(COMPLETE)
    )
    return marks[0].removesuffix(COMPLETE) if marks else ""


def prefix(cluster: str, machine: str = "") -> str:
    """What the names of a machine's volumes begin with, or of all those of a cluster."""
    return f"kybern.{cluster}.{machine}." if machine else f"kybern.{cluster}."


def accelerator(capabilities: str) -> str:
    """Kvm or qemu: what a hypervisor would make a domain of, by its domains' capabilities."""
    return ET.fromstring(capabilities).findtext("domain", "qemu")  # noqa: S314  # libvirt's own output


def pool_kind(description: str) -> str:
    """dir, logical, and so on."""
    return ET.fromstring(description).get("type", "")  # noqa: S314  # libvirt's own output


def sender(identity: Path = Path("/etc/machine-id")) -> str:
    """Which host sends: the same in each of its runs."""
    try:
        text = identity.read_bytes()
    except FileNotFoundError:
        text = b""
    return hashlib.sha256(text).hexdigest()[:8]


class Volumes:
    """The driver for one hypervisor elsewhere. ``connection`` is libvirt's, ``label`` what the hypervisor is called."""

    patience = qemu.Qemu.patience

    def __init__(
        self,
        connection: Any,
        uri: str,
        pool: str,
        label: str,
        accelerator: Callable[[], str],
        say: images.Say,
    ) -> None:
        self.uri = uri
        self._connection, self._pool, self._label, self._say = connection, pool, label, say
        self._accelerator = functools.cache(accelerator)

    def image(self, offered: Path | None = None) -> None:
        qemu.build(self._say, offered)

    def create(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        machine = wanted.machine
        self.remove(wanted.cluster, machine.name)
        base = self._whole_image()
        self._refuse_full(ROOM)
        layer = volume(
            self._name(wanted, qemu.DISK), machine.disk * MIB, "qcow2", self._path(base + qemu.DISK)
        )
        self._storage().createXML(layer)
        self._extra(wanted)
        self._send(self._name(wanted, qemu.SETTINGS), qemu.archive((*files, *qemu.links(wanted))))

    def resize(self, wanted: Wanted) -> None:
        self._extra(wanted)
        sizes = (wanted.machine.disk, *wanted.machine.disks)
        for name, mebibytes in zip(self._disks(wanted), sizes, strict=True):
            found = self._storage().storageVolLookupByName(name)
            if found.info()[1] < mebibytes * MIB:
                found.resize(mebibytes * MIB)

    def xml(self, wanted: Wanted) -> str:
        disk = self._storage().storageVolLookupByName(self._name(wanted, qemu.DISK)).XMLDesc()
        base = ET.fromstring(disk).findtext("backingStore/path", "")  # noqa: S314  # libvirt's own output
        kernel, initrd = (Path(base.removesuffix(qemu.DISK) + part) for part in PARTS[1:])
        boot = xml.Boot(kernel, initrd, qemu.command_line(wanted))
        own = qemu.drives(wanted, lambda name: Path(self._path(self._name(wanted, name))))
        return xml.qemu(wanted, self._accelerator(), boot, own, None)

    def remove(self, cluster: str, machine: str) -> None:
        self._delete(prefix(cluster, machine))

    def remove_all(self, cluster: str) -> None:
        """What an interrupted run has left, too."""
        self._delete(prefix(cluster))

    def before_start(self, wanted_name: str, directory: Path) -> None:
        """Everything is in the pool already."""

    def power_button(self, name: str) -> bool:
        return False

    def anchor(self, name: str) -> int | None:
        """Its processes are another host's."""
        return None

    def after_stop(self, name: str, directory: Path) -> None:
        """It leaves nothing."""

    def refuse_unfit_pool(self) -> None:
        """Before anything is made. Raises MachineError with what is to be done there."""
        found = next(
            (one for one in self._connection.listAllStoragePools() if one.name() == self._pool), None
        )
        there = f"'virsh --connect {self.uri}"
        if found is None:
            raise MachineError(
                f'{self._label} has no storage pool "{self._pool}"; make it with {there} pool-define-as {self._pool} dir '
                f"--target /var/lib/libvirt/images', pool-build, pool-start and pool-autostart, or name another in "
                f'"pool"'
            )
        if not found.isActive():
            raise MachineError(
                f'the storage pool "{self._pool}" of {self._label} is not started; run {there} pool-start '
                f"{self._pool}', and pool-autostart"
            )
        kind = pool_kind(found.XMLDesc())
        if kind not in FILES:
            raise MachineError(
                f'the storage pool "{self._pool}" of {self._label} is of the type {kind}, and machines need one whose '
                f'volumes are files ({", ".join(FILES)}); name such a one in "pool"'
            )

    def _storage(self) -> Any:
        return self._connection.storagePoolLookupByName(self._pool)

    def _name(self, wanted: Wanted, part: str) -> str:
        return prefix(wanted.cluster, wanted.machine.name) + part

    def _disks(self, wanted: Wanted) -> list[str]:
        parts = [qemu.DISK, *(f"{name}.qcow2" for name in qemu.extra_disks(wanted))]
        return [self._name(wanted, part) for part in parts]

    def _path(self, name: str) -> str:
        return str(self._storage().storageVolLookupByName(name).path())

    def _extra(self, wanted: Wanted) -> None:
        """The empty disks that are not there yet."""
        has = set(self._storage().listVolumes())
        for name, mebibytes in zip(self._disks(wanted)[1:], wanted.machine.disks, strict=True):
            if name not in has:
                self._storage().createXML(volume(name, mebibytes * MIB, "qcow2"))

    def _whole_image(self) -> str:
        """What the names of the image's volumes begin with; it is sent when it is not there."""
        image = qemu.build(self._say)
        digest = image.disk.parent.name
        with images.lock(images.STORE / "sending" / self._pool_id()):
            self._storage().refresh()
            if found := image_of(self._storage().listVolumes(), digest):
                return found
            own = f"{IMAGE}.{digest}.{sender()}."
            self._delete(own)
            files = dict(zip(PARTS, (image.disk, image.kernel, image.initrd), strict=True))
            size = sum(path.stat().st_size for path in files.values()) // MIB
            self._refuse_full(size)
            self._say(f"sending the machine image to {self._label} ({size} MiB): this is done once")
            for part, path in files.items():
                self._send_file(own + part, path)
            self._send(own + COMPLETE, b"")
            return own

    def _pool_id(self) -> str:
        return hashlib.sha256(f"{self.uri} {self._pool}".encode()).hexdigest()[:16]

    def _refuse_full(self, mebibytes: int) -> None:
        free = self._storage().info()[3] // MIB
        if free < mebibytes:
            raise MachineError(
                f'the storage pool "{self._pool}" of {self._label} has {free} MiB free, and {mebibytes} are needed; '
                "make room there"
            )

    def _send_file(self, name: str, path: Path) -> None:
        kind, size = "raw", path.stat().st_size
        if path.suffix == ".qcow2":
            told = images.run(["qemu-img", "info", "--output=json", str(path)], 60)
            kind, size = "qcow2", json.loads(told)["virtual-size"]
        made = self._storage().createXML(volume(name, size, kind, mode="0644"))
        with path.open("rb") as file:
            self._stream(made, path.stat().st_size, file.read)

    def _send(self, name: str, content: bytes) -> None:
        made = self._storage().createXML(volume(name, len(content), "raw"))
        if content:
            self._stream(made, len(content), io.BytesIO(content).read)

    def _stream(self, made: Any, length: int, read: Callable[[int], bytes]) -> None:
        stream = self._connection.newStream()
        try:
            made.upload(stream, 0, length)
            while piece := read(PIECE):
                _push(stream, piece)
        except BaseException:
            stream.abort()
            raise
        stream.finish()

    def _delete(self, start: str) -> None:
        storage = self._storage()
        # libvirt knows what went through it; another may have come by other ways.
        storage.refresh()
        for name in storage.listVolumes():
            if name.startswith(start):
                storage.storageVolLookupByName(name).delete()


def _push(stream: Any, piece: bytes) -> None:
    """A stream takes as much as it can at a time."""
    rest = piece
    while rest:
        taken = stream.send(rest)
        if taken <= 0:
            raise MachineError("cannot send a volume: libvirt takes no more of it")
        rest = rest[taken:]
