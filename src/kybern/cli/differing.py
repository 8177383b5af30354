"""What a deploy would change, by machine: asked of pyinfra, which looks and touches nothing."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from kybern.cli.deploys import LAST, StepFailed, command_of
from kybern.machines.topology import Cluster

# Names of operations that wait for what others do, and change nothing themselves.
WAITS = frozenset({"Answering", "Healthy", "Ready"})
WITHIN = 900  # seconds; it builds the release, when there is none yet


def differing(topology: str, cluster: Cluster, more: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The operations that ``deploys/cluster.py`` would do on each machine that differs. Raises StepFailed."""
    # With -y pyinfra does not look while it prepares, and calls everything unchanged.
    command = [
        word for word in command_of(topology, cluster, "cluster", ("--dry", "--json", *more)) if word != "-y"
    ]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=WITHIN, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as late:
        raise StepFailed(
            f"cannot tell what differs on {cluster.name}: pyinfra is not done after {WITHIN} s"
        ) from late
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST:])
        raise StepFailed(f"cannot tell what differs on {cluster.name}:\n{last}")
    return read(done.stdout)


def read(text: str) -> dict[str, tuple[str, ...]]:
    """The plan that pyinfra prints in JSON. A host is named as its connector has it: "@machine/master-1" is master-1."""
    plan: list[dict[str, Any]] = json.loads(text)["plan"]
    found: dict[str, list[str]] = {}
    for operation in plan:
        if operation["name"].rpartition("| ")[2] in WAITS:
            continue
        for host in (*operation["hosts_with_change"], *operation["hosts_with_conditional_change"]):
            found.setdefault(host.rpartition("/")[2], []).append(operation["name"])
    return {machine: tuple(names) for machine, names in found.items()}
