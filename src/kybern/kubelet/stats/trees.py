"""How much of a disk a tree of files takes. Blocking; callers use a thread."""

import os
import time
from pathlib import Path

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
    waiting = [str(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if status.st_dev != first.st_dev or status.st_ino in seen:
                        continue
                    if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        seen.add(status.st_ino)
                    used, inodes = used + status.st_blocks * _BLOCK, inodes + 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
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
