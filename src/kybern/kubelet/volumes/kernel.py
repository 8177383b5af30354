"""Mounts, asked of the kernel directly: programs (mount, umount) would cost a fork of the whole daemon for each volume.

Blocking; callers use a thread. Failures are ``CannotMount``.
"""

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

from kybern.kubelet.volumes.plugin import CannotMount

READ_ONLY, NO_EXEC = 1, 8
_BIND, _REMOUNT = 4096, 32
_DETACH, _NO_FOLLOW = 2, 8
# Words among mount options that are flags of mount(2); all others go to the file system.
_WORDS = {"ro": READ_ONLY, "noexec": NO_EXEC, "bind": _BIND, "rbind": _BIND | 16384, "rw": 0}


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise CannotMount(f"{what} failed: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: Path, kind: str, options: tuple[str, ...], more: int = 0) -> None:
    """``options`` are those of the mount program; ``more`` are further flags, for binds too."""
    flags = more
    for word in options:
        flags |= _WORDS.get(word, 0)
    data = ",".join(word for word in options if word not in _WORDS)
    arguments = (source.encode(), os.fsencode(target), kind.encode(), flags, data.encode())
    _checked(_libc().mount(*arguments), f"mount of {target}")
    if flags & _BIND and flags & (READ_ONLY | NO_EXEC):
        # The kernel takes flags of a bind only when it is there already.
        again = (b"none", os.fsencode(target), b"none", (flags & ~16384) | _REMOUNT, b"")
        _checked(_libc().mount(*again), f"remount of {target}")


def is_mounted(target: Path) -> bool:
    """Whether something is mounted exactly there; a bind of the same file system counts."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split(" ", 5)[4].replace("\\040", " ") for line in lines)
    return str(target) in points


def bind(descriptor: int, target: Path) -> None:
    """Show what a descriptor is open on at another path: no name can lead elsewhere in between."""
    mount(f"/proc/self/fd/{descriptor}", target, "none", ("bind",))


def unmount(target: Path, *, lazily: bool = False) -> None:
    """Take away whatever is mounted there, as often as needed; nothing mounted is no error.

    Only the kernel knows: a bind of the same file system looks like any directory.
    """
    flags = _NO_FOLLOW | (_DETACH if lazily else 0)
    while (result := _libc().umount2(os.fsencode(target), flags)) == 0:
        pass
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        _checked(result, f"unmount of {target}")
