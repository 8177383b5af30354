"""Giving a volume to the pod's group (fsGroup)."""

import os
import stat
from pathlib import Path

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
    for root, names, files in os.walk(directory, topdown=False):
        for name in (*names, *files):
            _give(Path(root, name), group)
    _give(directory, group)


def _is_owned(status: os.stat_result, group: int) -> bool:
    wanted = stat.S_ISGID | _WRITE | _ENTER
    return status.st_gid == group and status.st_mode & wanted == wanted


def _give(path: Path, group: int) -> None:
    """Links are left alone: they may lead out of the volume."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return
    os.chown(path, -1, group, follow_symlinks=False)
    extra = stat.S_ISGID | _ENTER if stat.S_ISDIR(status.st_mode) else 0
    path.chmod(stat.S_IMODE(status.st_mode) | _WRITE | extra)
