"""Giving a volume to the pod's group (fsGroup)."""

import os
import stat
from pathlib import Path

from kybern.daemon import descent

# Group read and write, and the group is inherited below.
_DIRECTORY = 0o2770


def own(directory: Path, group: int | None) -> None:
    """Let the group own the directory, and what is made in it. Nothing is done where it does already."""
    if group is None:
        return
    status = directory.stat()
    if status.st_gid == group and status.st_mode & _DIRECTORY == _DIRECTORY:
        return
    os.chown(directory, -1, group)
    directory.chmod((status.st_mode & 0o7777) | _DIRECTORY)


_WRITE, _ENTER = 0o660, 0o110


def own_tree(directory: Path, group: int, policy: str = "") -> None:
    """Let the group own all that a volume holds already (upstream's SetVolumeOwnership). Blocking.

    ``policy`` OnRootMismatch: not when the volume's root is the group's as it should be (fsGroupChangePolicy).
    """
    if policy == "OnRootMismatch" and _is_owned(directory.stat(), group):
        return

    def each(where: int, entry: "os.DirEntry[str]") -> None:
        _give(entry.name, where, group)

    descent.walk(directory, each)
    # Last: whoever looks at the root only takes the rest for done.
    _give(directory, None, group)


def _is_owned(status: os.stat_result, group: int) -> bool:
    wanted = stat.S_ISGID | _WRITE | _ENTER
    return status.st_gid == group and status.st_mode & wanted == wanted


def _give(name: str | Path, where: int | None, group: int) -> None:
    """Links are left alone: they may lead out of the volume. What was looked at is changed, whatever has its name now."""
    held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
    try:
        status = os.fstat(held)
        if stat.S_ISLNK(status.st_mode):
            return
        itself = Path(f"/proc/self/fd/{held}")
        os.chown(itself, -1, group)
        extra = stat.S_ISGID | _ENTER if stat.S_ISDIR(status.st_mode) else 0
        itself.chmod(stat.S_IMODE(status.st_mode) | _WRITE | extra)
    finally:
        os.close(held)
