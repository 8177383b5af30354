"""Snapshots of etcd on the operator's side: ``.kybern/CLUSTER/backups/NAME.db`` with what they hold and their checksum.

A snapshot is in the directory when all of it has arrived and its checksum is right, and not before. Its name is the time at
which it was taken, in UTC.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from kybern.machines.errors import MachineError
from kybern.machines.secret_files import private_folder
from kybern.machines.state import State

ARRIVING = ".new"
KINDS = ("db", "json", "sha256")
CHECKED = "checked"  # the ending of what a test restore found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot file, with its etcd revision and its size in bytes."""

    path: Path
    revision: int
    size: int
    digest: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def checked(self) -> str:
        """What a test restore of this very file found; empty without one."""
        try:
            found = json.loads(self.path.with_suffix(f".{CHECKED}").read_text())
        except (OSError, ValueError):
            return ""
        return f"{found['keys']} keys" if found.get("digest") == self.digest else ""


def folder(cluster: str) -> Path:
    return State.of(cluster).directory / "backups"


def prepare(place: Path) -> None:
    """An empty directory for one that arrives."""
    shutil.rmtree(place / ARRIVING, ignore_errors=True)
    private_folder(place / ARRIVING)


def finish(place: Path) -> None:
    """Take what arrived in. Raises MachineError when it is not what was sent."""
    arrived = place / ARRIVING
    told, _, name = (arrived / "snapshot.sha256").read_text().strip().partition("  ")
    found = digest_of(arrived / "snapshot.db")
    if found != told:
        raise MachineError(
            f"cannot keep the snapshot {name}: its checksum is {found[:12]} and was to be {told[:12]}; take another"
        )
    for kind in KINDS:
        file = arrived / f"snapshot.{kind}"
        file.chmod(0o600)
        file.rename(place / f"{Path(name).stem}.{kind}")
    arrived.rmdir()


def known(place: Path) -> tuple[Snapshot, ...]:
    """The finished snapshots of a directory, oldest first."""
    return tuple(read(mark.with_suffix(".db")) for mark in sorted(place.glob("*.sha256")))


def prune(place: Path, keep: int) -> tuple[str, ...]:
    """Leave only the newest ``keep``; gives the names of those that went. Files of others are not touched."""
    names = [mark.stem for mark in sorted(place.glob("*.sha256"))]
    old = tuple(names[: max(len(names) - keep, 0)])
    for name in old:
        # The checksum first: what has none does not count.
        for kind in (*reversed(KINDS), CHECKED):
            (place / f"{name}.{kind}").unlink(missing_ok=True)
    return old


def read(path: Path) -> Snapshot:
    """One snapshot, which is compared with its checksum. Raises MachineError."""
    try:
        told = path.with_suffix(".sha256").read_text().split()[0]
        status = json.loads(path.with_suffix(".json").read_text())
        size = path.stat().st_size
    except (OSError, ValueError, IndexError) as problem:
        raise MachineError(
            f"cannot read the snapshot {path}: {problem}; it needs {path.stem}.json and .sha256 beside it"
        ) from problem
    found = digest_of(path)
    if found != told:
        raise MachineError(f"cannot use the snapshot {path}: its checksum is wrong; take another one")
    return Snapshot(path, int(status["revision"]), size, found)


def digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
