"""How much of a disk a tree of files takes. Blocking; callers use a thread."""

import contextlib
import os
import stat
import time
from pathlib import Path

from kybern.daemon import descent
from kybern.kubelet.stats.use import Disk, FileSystem

_BLOCK = 512


def tree(root: Path) -> Disk:
    """What lies below a directory, itself included, on its own file system; each file once, however often it is linked.

    What goes away meanwhile counts for nothing.
    """
    try:
        first = root.lstat()
    except OSError:
        return Disk(time.time())
    used, inodes, seen = first.st_blocks * _BLOCK, 1, set[int]()

    def each(_directory: int, entry: "os.DirEntry[str]") -> None:
        nonlocal used, inodes
        status = entry.stat(follow_symlinks=False)
        if status.st_dev != first.st_dev or status.st_ino in seen:
            return
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            seen.add(status.st_ino)
        used, inodes = used + status.st_blocks * _BLOCK, inodes + 1

    with contextlib.suppress(OSError):
        if stat.S_ISDIR(first.st_mode):
            descent.walk(root, each)
    return Disk(time.time(), used, inodes)


def file_system(path: Path) -> FileSystem:
    """Of the file system that a path is on."""
    found = os.statvfs(path)
    unit = found.f_frsize
    return FileSystem(
        time.time(), found.f_bavail * unit, found.f_blocks * unit, found.f_favail, found.f_files,
        (found.f_bfree - found.f_bavail) * unit,
    )  # fmt: skip


def mounted(path: Path) -> Disk:
    """All that is used of a file system which is the volume's alone (a tmpfs)."""
    found = file_system(path)
    return Disk(found.time, found.used, found.inodes - found.inodes_free)
