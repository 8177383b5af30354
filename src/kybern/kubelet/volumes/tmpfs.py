"""File systems in memory, for what must not reach a disk or is asked to be fast.

The kernel is asked directly: programs (mount, umount) would cost a fork of the whole daemon for each volume.
"""

import asyncio
import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from kybern.kubelet.volumes.plugin import CannotMount


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise CannotMount(f"{what} failed: {os.strerror(ctypes.get_errno())}")


def _mount(directory: Path, options: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if not directory.is_mount():
        result = _libc().mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, options.encode())
        _checked(result, f"mount of {directory}")


def _unmount(directory: Path) -> None:
    while directory.is_mount():
        _checked(_libc().umount2(os.fsencode(directory), 0), f"unmount of {directory}")


async def mount(directory: Path, size: int = 0, mode: int = 0o1777) -> None:
    """Have a tmpfs there; one that is mounted already is left as it is."""
    await asyncio.to_thread(_mount, directory, f"mode={mode:o}" + (f",size={size}" if size else ""))


async def unmount(directory: Path) -> None:
    """Take away whatever is mounted there, as often as needed."""
    await asyncio.to_thread(_unmount, directory)
