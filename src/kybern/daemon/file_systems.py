"""A file system on a device: made where there is none, checked where there is one; and grown with its device.

As upstream's FormatAndMount and ResizeFs (k8s.io/mount-utils). Failures are Unusable, CannotRun and OSError.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

type Run = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]

# What the programs say by their exit codes: nothing found; errors that fsck did not mend.
_NOTHING, _NOT_MENDED = 2, 4
_MENDED = 3  # e2fsck: errors that it mended, and that the machine should start anew for
_LARGEST_BLOCK = 1 << 16
_QUICKLY = {"ext3": ("-F", "-m0"), "ext4": ("-F", "-m0"), "xfs": ("-f",)}


class Unusable(Exception):
    """What is on a device cannot be mounted or grown; the message says why."""


async def kind_of(run: Run, device: Path) -> str:
    """The file system of a device, or its kind of partitions; "" for an empty one. Raises Unusable."""
    code, said = await run(("blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", str(device)))
    if code == _NOTHING:
        return ""
    if code:
        raise Unusable(f"cannot find out what is on {device}: blkid ended with {code}: {said.strip()}")
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    if "TYPE" not in found and "PTTYPE" in found:
        return "unknown data, probably partitions"
    return found.get("TYPE", "")


async def prepare(run: Run, device: Path, kind: str, options: tuple[str, ...]) -> None:
    """Have a device ready to be mounted; raises Unusable. Never makes a file system over data, nor on one only read."""
    there = await kind_of(run, device)
    if not there:
        if "ro" in options:
            raise Unusable(
                f"cannot mount unformatted disk {device} as we are manipulating it in read-only mode"
            )
        code, said = await run((f"mkfs.{kind}", *_QUICKLY.get(kind, ()), str(device)))
        if code:
            raise Unusable(
                f"format of disk {device} failed: type:({kind}) errcode:({code}) output:({said.strip()})"
            )
    elif there != kind:
        raise Unusable(f"failed to mount the volume as {kind}, it already contains {there}")
    elif "ro" not in options:
        code, said = await run(("fsck", "-a", str(device)))
        if code == _NOT_MENDED:
            raise Unusable(
                f"'fsck' found errors on device {device} but could not correct them: {said.strip()}"
            )


def extent(superblock: bytes) -> int:
    """How many bytes of its device a file system of the ext family takes, by its superblock (ext4(5)); 0 for none."""
    if len(superblock) < 1024 or superblock[0x38:0x3A] != b"\x53\xef":
        return 0
    low, log = int.from_bytes(superblock[4:8], "little"), int.from_bytes(superblock[24:28], "little")
    is_wide = int.from_bytes(superblock[0x60:0x64], "little") & 0x80
    high = int.from_bytes(superblock[0x150:0x154], "little") if is_wide else 0
    return (high << 32 | low) * (1024 << log)


def is_smaller(device: Path) -> bool:
    """Whether an ext file system has room to grow on its device. Blocking; raises OSError."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        taken, size = extent(os.pread(descriptor, 1024, 1024)), os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
    return taken > 0 and size - taken > _LARGEST_BLOCK


async def grow_unmounted(run: Run, device: Path) -> None:
    """Have a file system that is not mounted fill its device, where it can without; raises Unusable."""
    if not await asyncio.to_thread(is_smaller, device):
        return
    code, said = await run(("e2fsck", "-f", "-p", str(device)))
    if code & ~_MENDED:
        raise Unusable(f"e2fsck of {device} ended with {code}: {said.strip()}")
    await _grow(run, ("resize2fs", str(device)), device)


async def grow_mounted(run: Run, device: Path, target: Path) -> None:
    """Have a mounted file system fill its device; one that does already is left alone. Raises Unusable."""
    kind = await kind_of(run, device)
    if kind in ("ext3", "ext4"):
        if await asyncio.to_thread(is_smaller, device):
            await _grow(run, ("resize2fs", str(device)), device)
    elif kind == "xfs":
        await _grow(run, ("xfs_growfs", "-d", str(target)), device)
    else:
        raise Unusable(f"cannot grow {kind or 'an empty device'} on {device}: only ext3, ext4 and xfs")


async def _grow(run: Run, words: Sequence[str], device: Path) -> None:
    code, said = await run(words)
    if code:
        raise Unusable(f"{words[0]} of {device} ended with {code}: {said.strip()}")
