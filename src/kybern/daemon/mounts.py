"""Mounts, asked of the kernel directly: programs (mount, umount) would cost a fork of the whole daemon for each.

Blocking; callers use a thread. Failures are OSError: the kernel's number, the path, and what was tried.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

READ_ONLY, NO_EXEC = 1, 8
BIND = 4096
_REMOUNT, _RECURSIVE = 32, 16384
_DETACH, _NO_FOLLOW = 2, 8
# Words among mount options that are flags of mount(2); all others go to the file system.
WORDS = {
    "ro": READ_ONLY,
    "rw": 0,
    "nosuid": 2,
    "nodev": 4,
    "noexec": NO_EXEC,
    "noatime": 1024,
    "nodiratime": 2048,
    "bind": BIND,
    "rbind": BIND | _RECURSIVE,
}


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} failed: {os.strerror(number)}")


def mount(source: str, target: Path, kind: str, options: tuple[str, ...], more: int = 0) -> None:
    """``options`` are those of the mount program; ``more`` are further flags, for binds too."""
    flags = more
    for word in options:
        flags |= WORDS.get(word, 0)
    data = ",".join(word for word in options if word not in WORDS)
    arguments = (source.encode(), os.fsencode(target), kind.encode(), flags, data.encode())
    _checked(_libc().mount(*arguments), f"mount of {target}")
    if flags & BIND and flags & ~(BIND | _RECURSIVE):
        # The kernel takes flags of a bind only when it is there already.
        again = (b"none", os.fsencode(target), b"none", (flags & ~_RECURSIVE) | _REMOUNT, b"")
        _checked(_libc().mount(*again), f"remount of {target}")


def unmount(target: Path, *, lazily: bool = False) -> None:
    """Take away whatever is mounted there, as often as needed; nothing mounted is no error.

    Only the kernel knows: a bind of the same file system looks like any directory.
    """
    flags = _NO_FOLLOW | (_DETACH if lazily else 0)
    while (result := _libc().umount2(os.fsencode(target), flags)) == 0:
        pass
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        _checked(result, f"unmount of {target}")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo: the device, the directory of its file system that is shown, and where."""

    device: str
    root: Path
    point: Path


def mounts() -> Iterator[Mount]:
    """All that this process sees mounted."""
    return told(Path("/proc/self/mountinfo").read_bytes())


def told(table: bytes) -> Iterator[Mount]:
    """The lines of a mountinfo. Names of directories may be any bytes: whoever may mount may choose them. Pure."""
    for line in table.split(b"\n"):
        if line:
            device, root, point = os.fsdecode(line).split(" ", 5)[2:5]
            yield Mount(device, Path(_plain(root)), Path(_plain(point)))


def _plain(text: str) -> str:
    """Blanks and backslashes are written as octal numbers there."""
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(written, meant)
    return text


def is_mounted(target: Path) -> bool:
    """Whether something is mounted exactly there; a bind of the same file system counts."""
    return any(one.point == target for one in mounts())


def shown_at(directory: Path) -> tuple[Path, ...]:
    """Where a directory, or a part of it, is shown by binds; and what is mounted below it. It must exist."""
    every = tuple(mounts())
    at = directory.resolve()
    holder = max(
        (one for one in every if at.is_relative_to(one.point)),
        key=lambda one: len(one.point.parts),
        default=None,
    )
    if holder is None:
        return ()
    inside = holder.root / at.relative_to(holder.point)
    return tuple(
        one.point
        for one in every
        if (one.device == holder.device and one.root.is_relative_to(inside) and one != holder)
        or (one.point != holder.point and one.point.is_relative_to(at))
    )
