"""Vagrant's boxes, made of our image: a disk that boots by itself (BIOS, syslinux), for libvirt and for VirtualBox.

The disk is put together in a file, without mounting anything: a partition table, a FAT file system with the boot loader
and the kernel, and the root.
"""

import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

from kybern.machines import images, recipe
from kybern.machines.errors import MachineError

PROVIDERS = ("libvirt", "virtualbox")
SIZE = 10 * 1024  # MiB
BOOT_AT, ROOT_AT = 1, 129  # MiB
# What a box is made with, and Debian's and Ubuntu's packages that have it.
TOOLS = {"syslinux": "syslinux", "mcopy": "mtools", "mkfs.vfat": "dosfstools"}
BOOT_RECORDS = (Path("/usr/lib/SYSLINUX/mbr.bin"), Path("/usr/lib/syslinux/mbr/mbr.bin"))
LOADER = """\
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND root=LABEL=kybern rw console=tty0 console=ttyS0 net.ifnames=0 clearcpuid=cx16
"""
VAGRANTFILE = {
    "libvirt": 'Vagrant.configure("2") { |config| config.vm.provider(:libvirt) { |it| it.disk_bus = "virtio" } }\n',
    "virtualbox": 'Vagrant.configure("2") { |config| config.vm.base_mac = "0800270A0B0C" }\n',
}


def refuse_without_tools(which: Callable[[str], str | None] = shutil.which) -> None:
    """Before the image is built, which takes minutes."""
    missing = sorted({package for tool, package in TOOLS.items() if which(tool) is None})
    if missing:
        raise MachineError(
            f"cannot make a box without {', '.join(missing)}: run 'apt install {' '.join(missing)}'"
        )


def partitions() -> bytes:
    """The first sector: the boot record's code, and a table with the boot and the root partition."""
    code = next((path for path in BOOT_RECORDS if path.exists()), None)
    if code is None:
        raise MachineError(
            "cannot make a box without syslinux's boot record: run 'apt install syslinux-common'"
        )
    table = b"".join(
        # Addresses by cylinder are of no use to anybody; the numbers of sectors count.
        struct.pack("<B3xB3xII", flag, kind, start * 2048, size * 2048)
        for flag, kind, start, size in (
            (0x80, 0x0C, BOOT_AT, ROOT_AT - BOOT_AT),
            (0, 0x83, ROOT_AT, SIZE - ROOT_AT),
        )
    )
    return code.read_bytes()[:440].ljust(446, b"\0") + table.ljust(64, b"\0") + b"\x55\xaa"


def disk(raw: Path, root: Path, scratch: Path) -> None:
    """A whole disk in a sparse file."""
    boot = scratch / "boot.fat"
    with boot.open("wb") as file:
        file.truncate((ROOT_AT - BOOT_AT) * 2**20)
    # The loader finds itself on the disk by the number of sectors before its file system.
    images.run(["mkfs.vfat", "-F", "32", "-h", str(BOOT_AT * 2048), str(boot)])
    (scratch / "syslinux.cfg").write_text(LOADER)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copyfile(max((root / "boot").glob(f"{name}-*")), scratch / name)
    files = [str(scratch / name) for name in ("syslinux.cfg", "vmlinuz", "initrd.img")]
    images.run(["mcopy", "-i", str(boot), *files, "::"])
    images.run(["syslinux", "--install", str(boot)])
    with raw.open("wb") as file:
        file.write(partitions())
        file.seek(BOOT_AT * 2**20)
        file.write(boot.read_bytes())
        file.truncate(SIZE * 2**20)
    options = ["-q", "-L", "kybern", "-E", f"offset={ROOT_AT * 2**20}", "-d", str(root)]
    images.run(["mkfs.ext4", *options, str(raw), f"{SIZE - ROOT_AT}M"])


def contents(provider: str, raw: Path, scratch: Path) -> list[Path]:
    """The files of a box for one provider."""
    files = [scratch / "metadata.json", scratch / "Vagrantfile"]
    files[1].write_text(VAGRANTFILE[provider])
    if provider == "libvirt":
        files[0].write_text(
            json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": SIZE // 1024})
        )
        target = scratch / "box.img"
        images.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(target)])
        return [*files, target]
    files[0].write_text(json.dumps({"provider": "virtualbox"}))
    target, ovf = scratch / "box.vmdk", scratch / "box.ovf"
    shape = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
    images.run(["qemu-img", "convert", "-f", "raw", *shape, str(raw), str(target)])
    ovf.write_text(recipe.tree("box.ovf").read_text().replace("@CAPACITY@", str(SIZE * 2**20)))
    return [*files, ovf, target]


def build(provider: str, say: images.Say, store: Path = images.STORE) -> Path:
    """The box for a provider, made if it is not there."""
    refuse_without_tools()
    root = images.directory(recipe.box(), say, store)

    def make(building: Path) -> None:
        say(f"making a box for {provider}")
        scratch = building.with_suffix(".parts")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        disk(scratch / "disk.raw", root, scratch)
        with tarfile.open(building, "w") as archive:
            for path in contents(provider, scratch / "disk.raw", scratch):
                archive.add(path, path.name)
        shutil.rmtree(scratch)

    return images.once(root.parent / f"kybern-{provider}.box", make, store)
