"""A part of a volume for a container, such that no link leads out of the volume, not even one that is made meanwhile.

    1. resolve links (a config map's files are links); what is found must lie in the volume
    2. walk there again, one name at a time, following no link, and make what is missing
    3. bind what is open now to ROOT/pods/UID/volume-subpaths/VOLUME/CONTAINER/INDEX, and give that to the runtime

Between 1 and 2 another container of the pod may put a link in the way: then 2 fails. After 2 names do not matter any
more. This is upstream's way (pkg/volume/util/subpath), found after CVE-2017-1002101 and CVE-2021-25741.
"""

import os
import stat
from pathlib import Path

from kybern.kubelet.volumes import kernel
from kybern.kubelet.volumes.plugin import CannotMount

_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(volume: Path, below: str, place: Path) -> Path:
    """The path to give to the runtime: ``place``, where ``below`` of the volume is bound to."""
    descriptor = _open(*_within(volume, below), below)
    try:
        _bind(descriptor, place)
    finally:
        os.close(descriptor)
    return place


def read(volume: Path, below: str, most: int) -> bytes:
    """What a file of the volume says: ``most`` bytes and one. Raises CannotMount, or OSError (also: there is none)."""
    root, inner = _within(volume, below)
    current = os.open(root, _WALK | os.O_DIRECTORY)
    try:
        for name in inner.parts:
            following = _there(current, name, below)
            os.close(current)
            current = following
        if not stat.S_ISREG(os.fstat(current).st_mode):
            raise CannotMount(f"{below} is not a file")
        with Path(f"/proc/self/fd/{current}").open("rb") as file:
            return file.read(most + 1)
    finally:
        os.close(current)


def _within(volume: Path, below: str) -> tuple[Path, Path]:
    """The volume, and the path in it that is meant, without links. Raises CannotMount for one that leads out."""
    root = Path(os.path.realpath(volume))
    inner = Path(os.path.realpath(root / below))
    if inner != root and root not in inner.parents:
        raise CannotMount(f'subpath "{below}" not within volume path "{volume}"')
    return root, inner.relative_to(root)


def _open(root: Path, inner: Path, below: str) -> int:
    """A descriptor of what is there, made where it is missing, with the volume's permissions."""
    mode = root.stat().st_mode & 0o7777
    current = os.open(root, _WALK | os.O_DIRECTORY)
    try:
        for name in inner.parts:
            following = _step(current, name, mode, below)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current


def _step(directory: int, name: str, mode: int, below: str) -> int:
    try:
        return _there(directory, name, below)
    except FileNotFoundError:
        os.mkdir(name, dir_fd=directory)  # relative to what is open
        found = os.open(name, _WALK | os.O_DIRECTORY, dir_fd=directory)
        # A descriptor that is only a path takes no fchmod.
        Path(f"/proc/self/fd/{found}").chmod(mode)
        return found
    except NotADirectoryError as problem:
        raise CannotMount(f"cannot make subPath {below}: {name} is not in a directory") from problem


def _there(directory: int, name: str, below: str) -> int:
    """A descriptor of what has that name, which must not be a link."""
    found = os.open(name, _WALK, dir_fd=directory)
    if stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise CannotMount(f"subpath {below} has a link in it that was not there before: {name}")
    return found


def _bind(descriptor: int, place: Path) -> None:
    """An earlier run's bind goes first; containers that use it keep theirs."""
    kernel.unmount(place, lazily=True)
    place.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        place.unlink(missing_ok=True) if place.is_file() else None
        place.mkdir(mode=0o750, exist_ok=True)
    else:
        place.rmdir() if place.is_dir() else None
        place.touch(mode=0o640)
    kernel.bind(descriptor, place)
