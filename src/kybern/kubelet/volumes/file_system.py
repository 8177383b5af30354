"""A file system on a device: made where there is none, checked where there is one, then mounted (FormatAndMount)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from kybern.kubelet.volumes import kernel
from kybern.kubelet.volumes.plugin import CannotMount

type Run = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]

# What the programs say by their exit codes: nothing found; errors that fsck did not mend.
_NOTHING, _NOT_MENDED = 2, 4
_QUICKLY = {"ext3": ("-F", "-m0"), "ext4": ("-F", "-m0"), "xfs": ("-f",)}


async def kind_of(run: Run, device: Path) -> str:
    """The file system of a device, or its kind of partitions; "" for an empty one. Raises CannotMount."""
    code, said = await run(("blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", str(device)))
    if code == _NOTHING:
        return ""
    if code:
        raise CannotMount(f"cannot find out what is on {device}: blkid ended with {code}: {said.strip()}")
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    if "TYPE" not in found and "PTTYPE" in found:
        return "unknown data, probably partitions"
    return found.get("TYPE", "")


async def mounted(run: Run, device: Path, target: Path, kind: str, options: tuple[str, ...]) -> None:
    """Have the device mounted; raises CannotMount. Never makes a file system over data, nor on one that is only read."""
    there = await kind_of(run, device)
    if not there:
        if "ro" in options:
            raise CannotMount(
                f"cannot mount unformatted disk {device} as we are manipulating it in read-only mode"
            )
        code, said = await run((f"mkfs.{kind}", *_QUICKLY.get(kind, ()), str(device)))
        if code:
            raise CannotMount(
                f"format of disk {device} failed: type:({kind}) errcode:({code}) output:({said.strip()})"
            )
    elif there != kind:
        raise CannotMount(f"failed to mount the volume as {kind}, it already contains {there}")
    elif "ro" not in options:
        code, said = await run(("fsck", "-a", str(device)))
        if code == _NOT_MENDED:
            raise CannotMount(
                f"'fsck' found errors on device {device} but could not correct them: {said.strip()}"
            )
    await asyncio.to_thread(target.mkdir, 0o750, parents=True, exist_ok=True)
    await asyncio.to_thread(kernel.mount, str(device), target, kind, options)
