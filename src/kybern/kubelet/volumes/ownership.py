"""Giving a volume to the pod's group (fsGroup)."""

import os
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
