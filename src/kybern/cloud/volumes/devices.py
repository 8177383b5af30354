"""Which device of this node a volume is, by what the cloud told of it. Blocking.

``serial``: a virtio disk of a virtual machine, which udev names by it, and the kernel itself, where there is no udev.
``device``: a container's device, by its name. The names of a virtual machine's disks are never believed.
"""

import fcntl
import os
import stat
from collections.abc import Mapping
from pathlib import Path

_LOOP = 7  # the major number
_SET_CAPACITY = 0x4C07  # LOOP_SET_CAPACITY of linux/loop.h
_SIZE = 0x80081272  # BLKGETSIZE64 of linux/fs.h


def find(told: Mapping[str, str], root: Path = Path("/")) -> Path:
    """Raises FileNotFoundError where it is not there, or not yet."""
    if serial := told.get("serial", ""):
        named = root / f"dev/disk/by-id/virtio-{serial}"
        if named.exists():
            return named.resolve()
        for one in sorted((root / "sys/block").glob("*/serial")):
            if one.read_text().strip() == serial:
                return root / "dev" / one.parent.name
        raise FileNotFoundError(f"no disk of this machine has the serial number {serial}")
    device = root / told.get("device", "").removeprefix("/")
    if device.parent != root / "dev" or not device.exists():
        raise FileNotFoundError(f'device "{told.get("device", "")}" is not there')
    return device


def number(device: Path) -> str:
    """``MAJOR:MINOR``, as the kernel's list of mounts has it. Raises OSError for what is no device."""
    found = device.stat()
    if not stat.S_ISBLK(found.st_mode):
        raise OSError(f"{device} is no block device")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def grown(device: Path) -> int:
    """The size in bytes; of a loop device after it has been told that its file may have grown."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.major(os.fstat(descriptor).st_rdev) == _LOOP:
            fcntl.ioctl(descriptor, _SET_CAPACITY)
        return int.from_bytes(fcntl.ioctl(descriptor, _SIZE, bytes(8)), "little")
    finally:
        os.close(descriptor)
