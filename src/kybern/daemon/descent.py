"""Trees of files that others made: walked however deep they are, and never out of them.

A pod may make directories below each other until a path is longer than the kernel takes, or swap one for a link while it
is looked at. So nothing is opened by a path: one directory is open at a time, one goes down by a name that must not be a
link, and up by ``..``, which must be where one came from. What is on another file system is not entered. Blocking.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Moved(OSError):
    """A directory is not any more where it was entered."""


class _Level(NamedTuple):
    """What is gone back to: by its identity, with the directories in it that are still to be entered."""

    identity: tuple[int, int]
    name: str
    """Of the directory that was entered."""
    waiting: list[str]


def _nothing(_directory: int, _name: str) -> None: ...


def walk(
    root: Path,
    each: Callable[[int, "os.DirEntry[str]"], None],
    left: Callable[[int, str], None] = _nothing,
) -> None:
    """Call ``each`` with all that is below a directory, and ``left`` with every directory after what is in it.

    Both get the open directory that it is in. What goes away meanwhile is left out. Raises OSError for the root, and Moved.
    """
    current = os.open(root, _DIRECTORY)
    try:
        device = os.fstat(current).st_dev
        above: list[_Level] = []
        waiting = _look(current, each)
        while waiting or above:
            if not waiting:
                parent = os.open("..", _DIRECTORY, dir_fd=current)
                os.close(current)
                current, (identity, name, waiting) = parent, above.pop()
                if _identity(current) != identity:
                    raise Moved(f"cannot walk {root}: {name} was moved meanwhile")
                left(current, name)
                continue
            name = waiting.pop()
            try:
                below = os.open(name, _DIRECTORY, dir_fd=current)
            except OSError:
                continue
            if os.fstat(below).st_dev != device:
                os.close(below)
                continue
            above.append(_Level(_identity(current), name, waiting))
            os.close(current)
            current = below
            waiting = _look(current, each)
    finally:
        os.close(current)


def _look(directory: int, each: Callable[[int, "os.DirEntry[str]"], None]) -> list[str]:
    """The directories in one; entries are not kept, there may be millions."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                inside = entry.is_dir(follow_symlinks=False)
                each(directory, entry)
            except FileNotFoundError:
                continue
            if inside:
                found.append(entry.name)
    return found


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def remove(root: Path) -> None:
    """Remove a directory and all in it; one that is not there is no error. Raises OSError."""

    def unlink(directory: int, entry: "os.DirEntry[str]") -> None:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=directory)

    try:
        if not stat.S_ISDIR(root.lstat().st_mode):
            root.unlink()
            return
        walk(root, unlink, lambda directory, name: os.rmdir(name, dir_fd=directory))
        root.rmdir()
    except FileNotFoundError:
        return
