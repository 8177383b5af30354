"""What runs did: ``.kybern/CLUSTER/journal/TIME-VERB.jsonl``, a line of JSON for each step on each machine, mode 0600.

The first line says what was run, the last one how it ended; a journal without a last line is of a run that was killed. The
newest ``KEPT`` are kept. Nothing that a file holds is in it: commands carry no secrets, and what a bundle writes travels on
standard input.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kybern.machines.secret_files import private_folder

VARIABLE = "KYBERN_JOURNAL"  # in the environment of a deploy: its journal
RESUME = "KYBERN_RESUME"  # and the one of the broken run that it goes on with
PARENT = "KYBERN_PARENT"  # and the process that started it, which it shall not outlive
KEPT = 50
LINES = 15  # of what a machine said when a step failed
LONGEST = 300  # characters of a command
DONE = ("changed", "same")
# Somebody may have worked on the machines by hand since. The longer ago, the likelier.
RESUMABLE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on one machine. ``result`` is changed, same or failed; ``trips`` are commands over SSH.

    ``inputs`` is the digest of what was wanted, where a resumed run may skip it. ``command`` and ``said`` are told of a
    step that failed.
    """

    at: str
    role: str
    machine: str
    action: str
    seconds: float
    result: str
    trips: int = 0
    inputs: str = ""
    command: str = ""
    said: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.role} | {self.action}" if self.role else self.action


@dataclass(frozen=True, slots=True)
class Journal:
    """One that was read. ``result`` is empty for a run that was killed."""

    verb: str
    began: datetime
    steps: tuple[Step, ...]
    result: str = ""
    words: tuple[str, ...] = ()


def folder(state: Path) -> Path:
    return state / "journal"


def begin(state: Path, verb: str, words: Sequence[str], now: datetime) -> Path:
    """A new journal, and the oldest ones gone. ``words`` are what the verb was given."""
    place = folder(state)
    private_folder(place)
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    path = place / f"{stamp}-{verb}.jsonl"
    _line(path, {"verb": verb, "words": list(words), "began": now.isoformat()})
    for old in known(state)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def append(path: Path, step: Step) -> None:
    _line(path, {key: value for key, value in asdict(step).items() if value not in ("", ())})


def end(path: Path, result: str, now: datetime) -> None:
    _line(path, {"ended": now.isoformat(), "result": result})


def known(state: Path) -> list[Path]:
    """All journals, the oldest first."""
    return sorted(folder(state).glob("*.jsonl"))


def parsed(text: str) -> Journal:
    """A journal from its lines. A last line that a killed run has not finished is passed over."""
    rows = [row for line in text.splitlines() if (row := _row(line))]
    head: dict[str, Any] = next((row for row in rows if "began" in row), {})
    tail: dict[str, Any] = next((row for row in rows if "ended" in row), {})
    names = {each.name for each in fields(Step)}
    steps = (
        Step(**{**{key: row[key] for key in names & row.keys()}, "said": tuple(row.get("said", ()))})
        for row in rows
        if "machine" in row
    )
    return Journal(
        verb=head.get("verb", ""),
        began=datetime.fromisoformat(head["began"]) if head else datetime.min.replace(tzinfo=UTC),
        steps=tuple(steps),
        result=tail.get("result", ""),
        words=tuple(head.get("words", ())),
    )


def cannot_resume(last: Journal | None, verb: str, words: Sequence[str], now: datetime) -> str:
    """Why the last run is none to go on with; nothing when it is."""
    if last is None:
        return "there is no journal of a run"
    if last.verb != verb or last.words != tuple(words):
        return f'the last run was "kybern {" ".join((last.verb, *last.words))}"'
    if last.result == "done":
        return "the last run came to its end"
    if now - last.began > RESUMABLE:
        return f"the last run began at {last.began:%Y-%m-%d %H:%M} UTC, and machines may have changed since"
    return ""


def finished(journal: Journal) -> frozenset[tuple[str, str, str, str]]:
    """The steps that came to their end, as machine, role, action and digest of inputs."""
    return frozenset(
        (step.machine, step.role, step.action, step.inputs)
        for step in journal.steps
        if step.inputs and step.result in DONE
    )


def slowest(steps: Iterable[Step], count: int) -> tuple[tuple[str, str, float], ...]:
    """The steps that took longest: name, the machine that was last, and its seconds."""
    longest: dict[str, Step] = {}
    for step in steps:
        known = longest.get(step.name)
        if known is None or step.seconds > known.seconds:
            longest[step.name] = step
    ordered = sorted(longest.values(), key=lambda step: -step.seconds)
    return tuple((step.name, step.machine, step.seconds) for step in ordered[:count])


def trips(steps: Iterable[Step]) -> dict[str, int]:
    """Commands over SSH by machine."""
    counted: dict[str, int] = {}
    for step in steps:
        counted[step.machine] = counted.get(step.machine, 0) + step.trips
    return counted


def failures(journal: Journal) -> tuple[Step, ...]:
    return tuple(step for step in journal.steps if step.result == "failed")


def failure(step: Step, again: str, path: Path) -> str:
    """The one form of an error: where, what, what was said last, and what to do next."""
    said = step.said or ("nothing",)
    rows = [
        ("machine", step.machine),
        ("role", step.role or "-"),
        ("step", step.action),
        ("command", step.command or "-"),
        *(("said" if not number else "", line) for number, line in enumerate(said)),
        ("next", f"mend what it names, and run: {again}"),
        ("journal", str(path)),
    ]
    return "\n".join(f"  {name:8} {text}".rstrip() for name, text in rows)


def shortened(command: str) -> str:
    """A command on one line, cut where nobody reads on."""
    line = " ".join(command.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _line(path: Path, row: dict[str, Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(row).encode() + b"\n")
