"""A restore that is under way, noted in the state directory, so that one that was interrupted goes on as the same one.

Each machine notes the stamp when its data are the snapshot's; with the stamp of another restore it begins anew.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kybern.machines.backups import Snapshot, read
from kybern.machines.errors import MachineError
from kybern.machines.state import write

NOTE = "restoring.json"


@dataclass(frozen=True, slots=True)
class Restoring:
    """``stamp`` names this restore on the machines."""

    note: Path
    stamp: str
    snapshot: Snapshot

    @classmethod
    def begin(cls, state: Path, snapshot: Snapshot) -> "Restoring":
        """The one that was interrupted, when it was of the same snapshot; a new one else."""
        note = state / NOTE
        if note.exists():
            known = json.loads(note.read_text())
            if known["digest"] == snapshot.digest:
                return cls(note, known["stamp"], snapshot)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        text = json.dumps({"stamp": stamp, "digest": snapshot.digest, "path": str(snapshot.path.absolute())})
        write(note, f"{text}\n".encode())
        return cls(note, stamp, snapshot)

    @classmethod
    def current(cls, state: Path) -> "Restoring":
        """The one that ``kybern restore`` has begun. Raises MachineError without one."""
        note = state / NOTE
        if not note.exists():
            raise MachineError("there is no restore to go on with; begin one with: kybern restore")
        known = json.loads(note.read_text())
        return cls(note, known["stamp"], read(Path(known["path"])))

    def end(self) -> None:
        self.note.unlink(missing_ok=True)
