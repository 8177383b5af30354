"""The directories of a node's volumes: made and removed whole, whatever happens in between.

    ROOT/HANDLE/volume.json    what it is; written before the directory has its name
    ROOT/HANDLE/data           what pods see
    ROOT/.new-HANDLE, ROOT/.gone-HANDLE

What holds: a volume appears and disappears by one rename. Nothing is touched but what has a record of this driver's with
its own name in it. A volume that is shown somewhere, or below which something is mounted, is not removed. ROOT is closed
to everybody but root, so that a volume's own permissions, which let everybody in, count in the pods that mount it only.

Blocking; callers use a thread, and one of them at a time changes something. Failures are OSError, or one of the two below.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kybern.daemon import descent, mounts
from kybern.daemon.files import replace_file
from kybern.local_volumes import quota
from kybern.local_volumes.names import DRIVER

_RECORD, _DATA = "volume.json", "data"
_NEW, _GONE = ".new-", ".gone-"
_HANDLE = re.compile(r"[a-z0-9]([a-z0-9-]{0,250}[a-z0-9])?")
_FIRST_PROJECT = 1_800_000_000  # far from those of others: container runtimes and the kubelet begin lower
_KEPT_FREE = 10  # percent: with less than this the kubelet would begin to evict pods


class NoRoom(Exception):
    """The disk has less than was asked for. The text says how much there is."""


class InUse(Exception):
    """A volume that is to go is shown somewhere still. The text says where."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A record. ``size`` in bytes; ``project`` 0: not limited; ``told``: its PersistentVolume has been written once."""

    handle: str
    size: int
    project: int = 0
    told: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """Of a volume, in bytes and in files. Without a limit of its own, total and available are the file system's."""

    total: int
    used: int
    available: int
    files: int
    files_used: int
    files_free: int


class Store:
    """``root`` is a directory of this driver's own; ``limits`` says whether sizes can be enforced there (``quota``)."""

    def __init__(self, root: Path, *, limits: bool) -> None:
        self.root = root
        self.limits = limits

    @classmethod
    def at(cls, root: Path) -> "Store":
        """Open a store, making its directory, and finish what was begun when the last daemon ended."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        store = cls(root, limits=quota.is_enforced(root))
        for path in (*root.glob(f"{_NEW}*"), *root.glob(f"{_GONE}*")):
            store.forget(path)
        return store

    def _place(self, handle: str) -> Path:
        if not _HANDLE.fullmatch(handle):
            raise FileNotFoundError(f"there is no volume {handle!r} on this node")
        return self.root / handle

    def all(self) -> Iterator[Volume]:
        for path in sorted(self.root.iterdir()):
            found = _read(path) if not path.name.startswith(".") else None
            if found is not None:
                yield found

    def get(self, handle: str) -> Volume:
        """Raises FileNotFoundError."""
        found = _read(self._place(handle))
        if found is None:
            raise FileNotFoundError(f"there is no volume {handle!r} on this node")
        return found

    def data(self, handle: str) -> Path:
        """The directory that pods see; raises FileNotFoundError."""
        self.get(handle)
        return self._place(handle) / _DATA

    def room(self) -> int:
        """Bytes that a new volume may have: not promised to others, and there.

        What others than volumes use is known by what is free; what volumes may yet use, by what they were promised.
        """
        found = os.statvfs(self.root)
        total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        kept, promised = total * _KEPT_FREE // 100, sum(one.size for one in self.all())
        return max(0, min(free - kept, total - kept - promised))

    def make(self, handle: str, size: int) -> Volume:
        """A volume, made now or before; raises NoRoom."""
        place = self._place(handle)
        before = _read(place)
        if before is not None:
            return self.grow(handle, size)
        if place.exists():
            raise FileExistsError(f"{place} is there, and is no volume of {DRIVER}: move it away")
        self._check(size)
        fresh = self.root / f"{_NEW}{handle}"
        self.forget(fresh)
        data = fresh / _DATA
        data.mkdir(parents=True)
        made = Volume(handle, size, self._project() if self.limits else 0)
        if made.project:
            quota.put(data, made.project, size)
        data.chmod(0o777)
        _write(fresh, made)
        fresh.rename(place)
        _settle(self.root)
        return made

    def _check(self, size: int) -> None:
        room = self.room()
        if size > room:
            raise NoRoom(f"not enough space: {size} bytes are asked for, {room} are left")

    def _project(self) -> int:
        taken = {one.project for one in self.all()}
        return next(n for n in range(_FIRST_PROJECT, _FIRST_PROJECT + len(taken) + 1) if n not in taken)

    def tell(self, handle: str) -> None:
        """Note that the API knows of a volume: from now on only the API has it removed."""
        found = self.get(handle)
        if not found.told:
            _write(self._place(handle), replace(found, told=True))

    def grow(self, handle: str, size: int) -> Volume:
        """At least ``size`` bytes; raises NoRoom."""
        found = self.get(handle)
        if size <= found.size:
            return found
        self._check(size - found.size)
        return self._sized(replace(found, size=size))

    def _sized(self, volume: Volume) -> Volume:
        place = self._place(volume.handle)
        _write(place, volume)
        self.enforce(volume)
        return volume

    def enforce(self, volume: Volume) -> None:
        """Limit a volume to its size, if it is one that is limited."""
        if volume.project and self.limits:
            quota.limit(self._place(volume.handle) / _DATA, volume.project, volume.size)

    def retire(self, handle: str) -> Path:
        """Take a volume's name away; what it leaves is for ``forget``. A volume that is gone is no error; raises InUse."""
        place, gone = self._place(handle), self.root / f"{_GONE}{handle}"
        found = _read(place)
        if found is not None:
            shown = mounts.shown_at(place)
            if shown:
                raise InUse(f"volume {handle} is still in use at {shown[0]}")
            if found.project and self.limits:
                quota.limit(place / _DATA, found.project, 0)
            place.rename(gone)
            _settle(self.root)
        return gone

    def abandon(self, handle: str) -> bool:
        """Remove a volume that the API never heard of, and that holds nothing; says whether it is gone."""
        found, data = self.get(handle), self.data(handle)
        if found.told or any(data.iterdir()):
            return False
        self.forget(self.retire(handle))
        return True

    def forget(self, path: Path) -> None:
        """Remove what is on its way in or out."""
        if path.is_dir() and not path.is_symlink():
            descent.remove(path)

    def use(self, handle: str) -> Use:
        found, data = self.get(handle), self.data(handle)
        whole = os.statvfs(data)
        size, free = whole.f_blocks * whole.f_frsize, whole.f_bavail * whole.f_frsize
        if not (found.project and self.limits):
            taken = (whole.f_blocks - whole.f_bfree) * whole.f_frsize
            return Use(size, taken, free, whole.f_files, whole.f_files - whole.f_ffree, whole.f_favail)
        taken, files = quota.used(data, found.project)
        left = max(0, min(found.size - taken, free))
        return Use(found.size, taken, left, files + whole.f_favail, files, whole.f_favail)


def _read(place: Path) -> Volume | None:
    """None for anything that is not a volume of this driver's."""
    try:
        if place.is_symlink() or (place / _DATA).is_symlink():
            return None
        raw = json.loads((place / _RECORD).read_text())
        if raw["driver"] != DRIVER or raw["handle"] != place.name:
            return None
        return Volume(raw["handle"], int(raw["size"]), int(raw["project"]), bool(raw["told"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(place: Path, volume: Volume) -> None:
    found = {"driver": DRIVER, **asdict(volume)}
    replace_file(place / _RECORD, json.dumps(found).encode(), durable=True)
    _settle(place)


def _settle(directory: Path) -> None:
    """Have the kernel write what names a directory holds."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
