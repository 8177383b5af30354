"""Running a deploy of pyinfra: followed line by line, told in short, and with its last words when it fails."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from kybern.cli.progress import Progress
from kybern.machines import changes, journal
from kybern.machines.bundle import taking
from kybern.machines.changes import Change
from kybern.machines.errors import MachineError
from kybern.machines.images import SAYS
from kybern.machines.state import State
from kybern.machines.topology import Cluster

OPERATION = re.compile(r"--> Starting operation: (?P<name>.+?)\s*$")
TOTAL = re.compile(
    r"\s*Grand total\s+(?P<hosts>\d+|-)\s+(?P<success>\d+|-)\s+(?P<error>\d+|-)\s+(?P<same>\d+|-)"
)
BORING = re.compile(r"(No changes|Skipped|Success)\s*$|^\s*$|^--> ")
# What a role says of a machine, or of the topology, while the run is prepared: nothing was done then.
REFUSED = re.compile(
    r"(?:--> Operation error in .+? line \d+|kybern\.machines\.errors\.TopologyError): (?P<why>.+)"
)
# What takes long before the first operation, or keeps it waiting.
SAID = re.compile(rf"{SAYS}(?P<name>.+)")
NOBODY = re.compile(r"\s*No host matches found for --limit pattern: (?P<pattern>.+)")
LAST = 25  # lines that are shown of a step that failed
NOTHING: Mapping[str, str] = MappingProxyType({})
AGAIN = "the same command again"


class StepFailed(MachineError):
    """A step ended with an error that it has told already."""


def inventory_of(topology: str, cluster: Cluster) -> str:
    """The inventory file of this name, or the running machines themselves for a topology that has none.

    A topology that is given as a file is that file, wherever it lies and whatever other one is called so.
    """
    given = Path(topology)
    if given.suffix in (".yaml", ".yml"):
        beside = given.parent.parent / f"{given.stem}.py"
        return str(beside) if given.parent.name == "topology" and beside.exists() else f"@libvirt/{given}"
    named = Path("inventories") / f"{topology}.py"
    return str(named) if named.exists() else f"@libvirt/{cluster.name}"


def only(names: Iterable[str]) -> tuple[str, ...]:
    """The words that limit a deploy to these machines or groups; pyinfra takes each by itself."""
    return tuple(word for name in names for word in ("--limit", name))


def command_of(topology: str, cluster: Cluster, verb: str, more: Sequence[str] = ()) -> list[str]:
    """What runs ``deploys/VERB.py`` on the machines of a cluster."""
    where = inventory_of(topology, cluster)
    return [sys.executable, "-m", "pyinfra", "-y", where, f"deploys/{verb}.py", *more]


def run_deploy(
    topology: str,
    cluster: Cluster,
    more: Sequence[str] = (),
    verb: str = "cluster",
    extra: Mapping[str, str] = NOTHING,
) -> int:
    """Run a deploy to its end, telling its steps; gives the number of changes. ``extra`` goes into its environment.

    What it does is in a journal, of which the slowest steps are told. Raises StepFailed.
    """
    state = State.of(cluster.name).directory
    path = journal.begin(state, verb, (topology,), datetime.now(UTC))
    result = "interrupted"
    try:
        followed = follow(topology, cluster, verb, more, {journal.VARIABLE: str(path), **extra})
        result = "failed" if followed.code or followed.nobody else "done"
    finally:
        journal.end(path, result, datetime.now(UTC))
    if followed.refused:
        raise StepFailed(f"cannot deploy {cluster.name}: {followed.refused}")
    told = journal.parsed(path.read_text())
    if followed.nobody:
        raise StepFailed(
            f'{cluster.name} has no machine or group "{followed.nobody[0]}"; nothing was done on it'
        )
    if followed.code:
        again = f"kybern apply {extra[changes.ONLY]} --resume" if changes.ONLY in extra else AGAIN
        tell(told, followed.last, path, again)
        raise StepFailed(f"deploys/{verb}.py failed on {cluster.name}")
    if followed.changes:
        rows = [
            f"  {seconds:6.1f} s  {name} ({machine})"
            for name, machine, seconds in journal.slowest(told.steps, 5)
        ]
        print("\n".join(["slowest steps:", *rows]), file=sys.stderr)
    return followed.changes


def tell(told: journal.Journal, last: Sequence[str], path: Path, again: str) -> None:
    """What failed, in the one form of an error; what pyinfra said last, when it failed outside of a step."""
    failed = journal.failures(told)
    for step in failed:
        print(journal.failure(step, again, path), file=sys.stderr)
    if not failed:
        print(
            "\n".join([*last, f"  next     mend what it names, and run: {again}", f"  journal  {path}"]),
            file=sys.stderr,
        )


@dataclass(frozen=True, slots=True)
class Followed:
    """How a run of pyinfra ended. ``nobody`` are limits that name no machine; ``refused`` is why nothing was begun."""

    code: int
    changes: int
    nobody: tuple[str, ...]
    last: tuple[str, ...]
    refused: str = ""


def follow(
    topology: str, cluster: Cluster, verb: str, more: Sequence[str], environment: Mapping[str, str]
) -> Followed:
    """Run pyinfra to its end. It does not outlive this: neither an interruption, nor the end of this process.

    Raises MachineError when the bundle that the topology names is not whole.
    """
    taking.check(cluster)
    last: deque[str] = deque(maxlen=LAST)
    nobody: list[str] = []
    changes, refused = 0, ""
    own = {"PYINFRA_PROGRESS": "off", journal.PARENT: str(os.getpid())}
    with (
        Progress(f"{verb.capitalize()}: {cluster.name}") as progress,
        subprocess.Popen(
            command_of(topology, cluster, verb, more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **own, **environment},
        ) as running,
    ):
        assert running.stdout is not None, "a pipe was asked for"
        try:
            for line in running.stdout:
                if found := OPERATION.match(line) or SAID.match(line):
                    progress.step(verb, found["name"].rstrip())
                elif found := TOTAL.match(line):
                    changes = int(found["success"]) if found["success"].isdigit() else 0
                elif found := NOBODY.match(line):
                    # pyinfra warns, does nothing, and calls it a success.
                    nobody.append(found["pattern"])
                elif found := REFUSED.match(line):
                    refused = found["why"].rstrip()
                elif not BORING.search(line):
                    last.append(line.rstrip())
            code = running.wait()
        except BaseException:
            running.terminate()
            raise
    return Followed(code, changes, tuple(nobody), tuple(last), refused if code else "")


def run_plan(topology: str, cluster: Cluster, more: Sequence[str] = ()) -> tuple[Change, ...]:
    """What a deploy would change, asked of the machines and changing nothing on them. Raises StepFailed."""
    with tempfile.TemporaryDirectory(prefix="kybern-plan-") as folder:
        to = Path(folder) / "changes.json"
        followed = follow(topology, cluster, "cluster", ("--dry", *more), {changes.VARIABLE: str(to)})
        if followed.nobody:
            raise StepFailed(f'{cluster.name} has no machine or group "{followed.nobody[0]}"')
        if followed.refused:
            raise StepFailed(f"cannot plan {cluster.name}: {followed.refused}")
        if followed.code or not to.exists():
            print("\n".join(followed.last), file=sys.stderr)
            raise StepFailed(f"cannot plan {cluster.name}: see above what its machines said")
        return tuple(changes.changes(json.loads(to.read_text())))
