"""Running a deploy of pyinfra: followed line by line, told in short, and with its last words when it fails."""

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from kybern.cli.progress import Progress
from kybern.machines.errors import MachineError
from kybern.machines.topology import Cluster

OPERATION = re.compile(r"--> Starting operation: (?P<name>.+?)\s*$")
TOTAL = re.compile(
    r"\s*Grand total\s+(?P<hosts>\d+|-)\s+(?P<success>\d+|-)\s+(?P<error>\d+|-)\s+(?P<same>\d+|-)"
)
BORING = re.compile(r"(No changes|Skipped|Success)\s*$|^\s*$|^--> ")
NOBODY = re.compile(r"\s*No host matches found for --limit pattern: (?P<pattern>.+)")
LAST = 25  # lines that are shown of a step that failed


class StepFailed(MachineError):
    """A step ended with an error that it has told already."""


def inventory_of(topology: str, cluster: Cluster) -> str:
    """The inventory file of this name, or the running machines themselves for a topology that has none."""
    named = Path("inventories") / f"{Path(topology).stem}.py"
    return str(named) if named.exists() else f"@libvirt/{cluster.name}"


def only(names: Iterable[str]) -> tuple[str, ...]:
    """The words that limit a deploy to these machines or groups; pyinfra takes each by itself."""
    return tuple(word for name in names for word in ("--limit", name))


def command_of(topology: str, cluster: Cluster, verb: str, more: Sequence[str] = ()) -> list[str]:
    """What runs ``deploys/VERB.py`` on the machines of a cluster."""
    where = inventory_of(topology, cluster)
    return [sys.executable, "-m", "pyinfra", "-y", where, f"deploys/{verb}.py", *more]


def run_deploy(topology: str, cluster: Cluster, more: Sequence[str] = (), verb: str = "cluster") -> int:
    """Run a deploy to its end, telling its steps; gives the number of changes. Raises StepFailed."""
    command = command_of(topology, cluster, verb, more)
    last: deque[str] = deque(maxlen=LAST)
    nobody: list[str] = []
    changes = 0
    environment = {**os.environ, "PYINFRA_PROGRESS": "off"}
    with (
        Progress(f"{verb.capitalize()}: {cluster.name}") as progress,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as running,
    ):
        assert running.stdout is not None, "a pipe was asked for"
        for line in running.stdout:
            if found := OPERATION.match(line):
                progress.step(verb, found["name"])
            elif found := TOTAL.match(line):
                changes = int(found["success"]) if found["success"].isdigit() else 0
            elif found := NOBODY.match(line):
                # pyinfra warns, does nothing, and calls it a success.
                nobody.append(found["pattern"])
            elif not BORING.search(line):
                last.append(line.rstrip())
        code = running.wait()
    if nobody:
        raise StepFailed(f'{cluster.name} has no machine or group "{nobody[0]}"; nothing was done on it')
    if code:
        print("\n".join(last), file=sys.stderr)
        raise StepFailed(
            f"deploys/{verb}.py failed on {cluster.name} (above: what the machines said); "
            "mend what it names and run the same command again"
        )
    return changes
