"""Files that change all at once: readers see the old tree or the new one, never parts of both.

    DIR/..2026_11_22_23_11_59.123456789/key     the files
    DIR/..data -> ..2026_11_22_23_11_59.123456789   what is replaced, in one rename
    DIR/key -> ..data/key                       what users open

What holds: the same payload written twice changes nothing; a name that is not in the payload any more is gone after the
rename; a crash in between leaves the old tree in force and the new directory to be removed by the next write; a write
that fails, on a full disk say, leaves the old tree alone.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_DATA = "..data"


class File(NamedTuple):
    """What a file holds and its permissions; ``owner`` is the user who must read it, if it is not root."""

    content: bytes
    mode: int
    owner: int | None = None


def checked(path: str) -> str:
    """A path inside a volume; raises ValueError for one that would lead out of it."""
    parts = PurePosixPath(path).parts
    if not path or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ValueError(f"invalid path: {path}")
    return path


def write(directory: Path, payload: Mapping[str, File], group: int | None = None) -> bool:
    """Make the directory hold exactly the payload; says whether anything changed. ``group`` owns what is written."""
    current = directory / _DATA
    if current.is_symlink() and _same(current.resolve(), payload):
        return False
    before = current.readlink() if current.is_symlink() else None
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=directory))
    try:
        fresh.chmod(0o755)
        for name, file in payload.items():
            _put(fresh / checked(name), fresh, file, group)
        temporary = directory / "..data_tmp"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(fresh.name)
        temporary.replace(current)
    except OSError:
        # Tried again and again on a full disk, it would only make it fuller.
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link(directory, payload)
    _forget(directory, payload, {fresh.name, _DATA})
    if before is not None:
        shutil.rmtree(directory / before, ignore_errors=True)
    return True


def _put(path: Path, root: Path, file: File, group: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in path.parents:
        if parent == root:
            break
        parent.chmod(0o755)
    path.touch(mode=0o600)
    path.write_bytes(file.content)
    mode = file.mode
    if group is not None or file.owner is not None:
        os.chown(path, -1 if file.owner is None else file.owner, -1 if group is None else group)
    if group is not None:
        # The group must be able to read what it was given, whatever the mode says (upstream's SetVolumeOwnership).
        mode |= 0o440
    path.chmod(mode)


def _same(tree: Path, payload: Mapping[str, File]) -> bool:
    found = {str(path.relative_to(tree)): path for path in tree.rglob("*") if path.is_file()}
    if set(found) != {str(PurePosixPath(name)) for name in payload}:
        return False
    for name, file in payload.items():
        path = tree / name
        if path.read_bytes() != file.content or (path.stat().st_mode & file.mode) != file.mode:
            return False
    return True


def _tops(payload: Iterable[str]) -> set[str]:
    return {PurePosixPath(name).parts[0] for name in payload}


def _link(directory: Path, payload: Iterable[str]) -> None:
    for top in _tops(payload):
        link = directory / top
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{top}")


def _forget(directory: Path, payload: Iterable[str], keep: set[str]) -> None:
    wanted = _tops(payload) | keep
    for path in directory.iterdir():
        if path.name in wanted:
            continue
        if path.is_symlink():
            path.unlink()
        elif path.name.startswith(".."):
            shutil.rmtree(path, ignore_errors=True)
