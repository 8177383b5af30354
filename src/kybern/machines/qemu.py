"""Machines as virtual machines of qemu:///: the same image with a kernel, started without a boot loader.

A machine's disk is a layer (qcow2) over the image's disk. What makes it itself (keys, addresses, name) is a tar archive
on a second disk, which the image unpacks at the first boot: no file system has to be mounted to make it.

KVM is used where it works, and /dev/kvm does not say so: some hosts offer it and hang every guest, some keep it from the
account that libvirt runs QEMU as. A kernel that prints nothing to that account within a few seconds settles it, once per
boot of the host; then machines are emulated.
"""

import io
import json
import os
import pwd
import select
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from kybern.machines import driver, hypervisor, images, recipe, xml
from kybern.machines.plan import Wanted
from kybern.machines.state import File, write

KVM = Path("/dev/kvm")
ACCOUNT = "libvirt-qemu"
VERDICT = hypervisor.RUN / "accelerator"
SIGN_OF_LIFE = 10.0
# Room for what mkfs itself writes; the layer's size is the machine's disk.
SLACK = 1.25


@dataclass(frozen=True, slots=True)
class Disk:
    """An image as a virtual machine wants it."""

    disk: Path
    kernel: Path
    initrd: Path


def build(say: images.Say, offered: Path | None = None) -> Disk:
    """The disk, kernel and initrd of the image, made if they are not there."""
    root = images.directory(recipe.virtual_machine(), say, offered=offered)
    store = root.parent

    def disk(building: Path) -> None:
        say("making a disk of the image")
        raw = building.with_suffix(".raw")
        used = int(images.run(["du", "--summarize", "--block-size=1M", str(root)], 120).split()[0])
        raw.unlink(missing_ok=True)
        with raw.open("wb") as file:
            file.truncate(int(used * SLACK + 128) * 2**20)
        images.run(["mkfs.ext4", "-q", "-L", "kybern", "-d", str(root), str(raw)])
        images.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(building)])
        raw.unlink()

    def boot_file(prefix: str) -> Path:
        source = max((root / "boot").glob(f"{prefix}-*"))
        return images.once(store / prefix, lambda building: _copy(source, building))

    return Disk(images.once(store / "disk.qcow2", disk), boot_file("vmlinuz"), boot_file("initrd.img"))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o644)


def accelerator(kernel: Path) -> str:
    """kvm, or qemu where that does not work here."""
    if not KVM.exists():
        return "qemu"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if VERDICT.exists():
        known, _, boot = VERDICT.read_text().partition(" ")
        if boot == boot_id:
            return known
    found = "kvm" if _boots(kernel) else "qemu"
    VERDICT.parent.mkdir(exist_ok=True)
    write(VERDICT, f"{found} {boot_id}".encode(), 0o644)
    return found


def account() -> dict[str, Any]:
    """As whom libvirt runs QEMU, for Popen: not as root; nothing where there is no such account, or we are not root."""
    try:
        found = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return {}
    if os.geteuid():
        return {}
    groups = os.getgrouplist(ACCOUNT, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}


def _boots(kernel: Path) -> bool:
    """A kernel says something under KVM."""
    command = [
        "qemu-system-x86_64",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "256",
        "-nodefaults",
        "-display",
        "none",
    ]
    command += ["-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=serial panic=-1", "-no-reboot"]
    with subprocess.Popen(
        [*command, "-serial", "stdio"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **account(),
    ) as process:
        assert process.stdout is not None
        try:
            readable, _, _ = select.select([process.stdout], [], [], SIGN_OF_LIFE)
            return bool(readable and process.stdout.read(1))
        finally:
            process.kill()


def archive(files: tuple[File, ...]) -> bytes:
    """The settings, as they lie on the second disk: a tar archive, padded to whole sectors."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for file in files:
            parent = Path(file.path).parent
            if parent.name == ".ssh":
                secret = tarfile.TarInfo(str(parent))
                secret.type, secret.mode = tarfile.DIRTYPE, 0o700
                packed.addfile(secret)
            info = tarfile.TarInfo(file.path)
            info.size, info.mode = len(file.content), file.mode
            packed.addfile(info, io.BytesIO(file.content))
    return made.getvalue()


def links(wanted: Wanted) -> tuple[File, ...]:
    """The machine's addresses, for systemd-networkd."""
    first = f"Address={wanted.machine.address}/{wanted.network.prefixlen}\nGateway={wanted.gateway}\n"
    made = [_link(0, wanted.mac, first)]
    for number, one in enumerate(wanted.machine.networks, 1):
        # Nobody waits for the others at boot: what a switch behind them does is not what the machine needs to start.
        text = f"Address={one.address}\n" if one.address else "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        made.append(_link(number, wanted.mac_of(number), text, "[Link]\nRequiredForOnline=no\n\n"))
    return tuple(made)


def _link(number: int, mac: str, text: str, more: str = "") -> File:
    path = f"etc/systemd/network/10-eth{number}.network"
    return File(path, f"[Match]\nMACAddress={mac}\n\n{more}[Network]\n{text}".encode())


def extra_disks(wanted: Wanted) -> list[str]:
    """Of the disks beside the machine's own: files and serial numbers, so a machine has them as virtio-data-1."""
    return [f"data-{number}" for number, _size in enumerate(wanted.machine.disks, 1)]


def command_line(wanted: Wanted) -> str:
    """Of the machine's kernel."""
    return (
        "root=/dev/vda rw console=ttyS0 net.ifnames=0 kybern.settings "
        f"systemd.machine_id={wanted.uuid.hex} systemd.hostname={wanted.machine.name}"
    )


DISK, SETTINGS = "disk.qcow2", "settings.tar"


def drives(wanted: Wanted, place: Callable[[str], Path]) -> list[xml.Drive]:
    """The machine's disks; ``place`` tells where a file of this name is."""
    return [
        xml.Drive("vda", place(DISK)),
        xml.Drive("vdb", place(SETTINGS), "raw"),
        *(
            xml.Drive(f"vd{letter}", place(f"{name}.qcow2"), serial=name)
            for letter, name in zip(ascii_lowercase[2:], extra_disks(wanted), strict=False)
        ),
    ]


class Qemu:
    """The driver for qemu:///."""

    uri = "qemu:///system"
    patience = 600.0

    def __init__(self, say: images.Say) -> None:
        self._say = say

    def image(self, offered: Path | None = None) -> None:
        if accelerator(build(self._say, offered).kernel) == "qemu":
            hypervisor.hide(KVM)
            self._say(
                "KVM does not work here: virtual machines are emulated, and boot in a minute instead of seconds"
            )

    def create(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        base = build(self._say)
        home = driver.directory(wanted.cluster, wanted.machine.name)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True, mode=0o711)
        # A layer refers to its base by path, and the path has the digest: a newer image is another path.
        images.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base.disk), str(home / "disk.qcow2"),
             f"{wanted.machine.disk}M"],
            60,
        )  # fmt: skip
        self._extra(wanted, home)
        write(home / "settings.tar", archive((*files, *links(wanted))), 0o600)
        (home / "image").write_text(base.disk.parent.name)

    def resize(self, wanted: Wanted) -> None:
        home = driver.directory(wanted.cluster, wanted.machine.name)
        sizes = {
            "disk": wanted.machine.disk,
            **dict(zip(extra_disks(wanted), wanted.machine.disks, strict=True)),
        }
        self._extra(wanted, home)
        for name, mebibytes in sizes.items():
            path = str(home / f"{name}.qcow2")
            told = json.loads(images.run(["qemu-img", "info", "--output=json", path], 60))
            if told["virtual-size"] < mebibytes * 2**20:
                images.run(["qemu-img", "resize", "-q", "-f", "qcow2", path, f"{mebibytes}M"], 60)

    def _extra(self, wanted: Wanted, home: Path) -> None:
        """The empty disks that are not there yet."""
        for name, mebibytes in zip(extra_disks(wanted), wanted.machine.disks, strict=True):
            if not (home / f"{name}.qcow2").exists():
                building = home / f"{name}.new"
                images.run(["qemu-img", "create", "-q", "-f", "qcow2", str(building), f"{mebibytes}M"], 60)
                building.rename(home / f"{name}.qcow2")

    def xml(self, wanted: Wanted) -> str:
        home = driver.directory(wanted.cluster, wanted.machine.name)
        image = images.STORE / (home / "image").read_text()
        boot = xml.Boot(image / "vmlinuz", image / "initrd.img", command_line(wanted))
        own = drives(wanted, lambda name: home / name)
        return xml.qemu(wanted, accelerator(boot.kernel), boot, own, home / driver.CONSOLE)

    def remove(self, cluster: str, machine: str) -> None:
        shutil.rmtree(driver.directory(cluster, machine), ignore_errors=True)

    def before_start(self, wanted_name: str, directory: Path) -> None:
        """Everything is on disk already."""

    def power_button(self, name: str) -> bool:
        return False

    def anchor(self, name: str) -> int | None:
        try:
            return int(Path(f"/run/libvirt/qemu/{name}.pid").read_text())
        except FileNotFoundError:
            return None

    def after_stop(self, name: str, directory: Path) -> None:
        """QEMU leaves nothing on the host."""
