"""Project quotas: what makes a directory as large as it was promised, on file systems that can (ext4, XFS).

A project is a number that files bear and hand on to what is made beside them; the kernel counts and limits its bytes. All
by system calls on an open directory, so no device has to be known and no program is run. Blocking; failures are OSError.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_QUOTACTL_FD = 443  # the same number on every architecture
_PROJECTS = 2
_SET, _GET, _STATE = 0x800008, 0x800007, 0x5808
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820
_HANDED_ON = 0x200
_LIMIT_OF_BYTES = 1
_BLOCK = 1024  # bytes that limits are counted in
# Of struct if_dqblk: limits (hard, soft) and use of bytes, of files, two times, and which of them are meant.
_FIGURES = struct.Struct("=8QI4x")
_ATTRIBUTES = struct.Struct("=5I8x")
_ENFORCED = 1 << 5


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ask(descriptor: int, command: int, project: int, answer: Any) -> None:
    if _libc().syscall(_QUOTACTL_FD, descriptor, (command << 8) | _PROJECTS, project, answer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"quota of project {project}: {os.strerror(number)}")


def is_enforced(directory: Path) -> bool:
    """Whether the file system below a directory limits projects."""
    state = ctypes.create_string_buffer(512)
    state[0] = b"\x01"  # the version of the answer's form
    try:
        with _opened(directory) as descriptor:
            _ask(descriptor, _STATE, 0, state)
    except OSError as problem:
        # What kernels and file systems without quotas say, and containers that may not ask.
        if problem.errno in {
            errno.ENOSYS, errno.EINVAL, errno.ESRCH, errno.ENOTSUP, errno.EPERM, errno.ENODEV, errno.EOPNOTSUPP,
        }:  # fmt: skip
            return False
        raise
    return bool(int.from_bytes(state.raw[2:4], "little") & _ENFORCED)


def put(directory: Path, project: int, size: int) -> None:
    """Give an empty directory to a project whose files may have ``size`` bytes."""
    with _opened(directory) as descriptor:
        _limit(descriptor, project, size)
        held = bytearray(_ATTRIBUTES.size)
        fcntl.ioctl(descriptor, _GET_ATTRIBUTES, held)
        flags, extent, extents, _old, copied = _ATTRIBUTES.unpack(held)
        changed = _ATTRIBUTES.pack(flags | _HANDED_ON, extent, extents, project, copied)
        fcntl.ioctl(descriptor, _SET_ATTRIBUTES, changed)


def limit(directory: Path, project: int, size: int) -> None:
    """Another size for a project; 0 takes the limit away."""
    with _opened(directory) as descriptor:
        _limit(descriptor, project, size)


def _limit(descriptor: int, project: int, size: int) -> None:
    blocks = -(-size // _BLOCK)
    figures = ctypes.create_string_buffer(_FIGURES.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _LIMIT_OF_BYTES))
    _ask(descriptor, _SET, project, figures)


def used(directory: Path, project: int) -> tuple[int, int]:
    """Bytes and files of a project."""
    figures = ctypes.create_string_buffer(_FIGURES.size)
    with _opened(directory) as descriptor:
        _ask(descriptor, _GET, project, figures)
    found = _FIGURES.unpack(figures.raw)
    return found[2], found[5]
