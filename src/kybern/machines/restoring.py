"""A restore that is under way, noted in the state directory, so that one that was interrupted goes on as the same one.

Each machine notes the stamp when its data are the snapshot's; with the stamp of another restore it begins anew.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kybern.machines.backups import Snapshot, read
from kybern.machines.errors import MachineError
from kybern.machines.state import write
from kybern.machines.topology import Machine

NOTE = "restoring.json"


@dataclass(frozen=True, slots=True)
class Restoring:
    """``stamp`` names this restore on the machines; ``members`` are those that get the data, all when it is empty."""

    note: Path
    stamp: str
    snapshot: Snapshot
    members: tuple[str, ...] = ()

    @classmethod
    def begin(cls, state: Path, snapshot: Snapshot, members: Sequence[str] = ()) -> "Restoring":
        """The one that was interrupted, when it was of the same snapshot for the same members; a new one else."""
        note = state / NOTE
        if note.exists():
            known = json.loads(note.read_text())
            if known["digest"] == snapshot.digest and known.get("members", []) == [*members]:
                return cls(note, known["stamp"], snapshot, tuple(members))
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        text = json.dumps(
            {
                "stamp": stamp,
                "digest": snapshot.digest,
                "path": str(snapshot.path.absolute()),
                "members": [*members],
            }
        )
        write(note, f"{text}\n".encode())
        return cls(note, stamp, snapshot, tuple(members))

    @classmethod
    def current(cls, state: Path) -> "Restoring":
        """The one that ``kybern restore`` has begun. Raises MachineError without one."""
        note = state / NOTE
        if not note.exists():
            raise MachineError("there is no restore to go on with; begin one with: kybern restore")
        known = json.loads(note.read_text())
        return cls(note, known["stamp"], read(Path(known["path"])), tuple(known.get("members", ())))

    @classmethod
    def pending(cls, state: Path) -> str:
        """The stamp of a recovery that was interrupted; empty without one. A restore has its own verb to go on with."""
        note = state / NOTE
        known = json.loads(note.read_text()) if note.exists() else {}
        return str(known["stamp"]) if known.get("members") else ""

    def is_for(self, machine: Machine) -> bool:
        return machine.is_etcd and (not self.members or machine.name in self.members)

    def end(self) -> None:
        self.note.unlink(missing_ok=True)
