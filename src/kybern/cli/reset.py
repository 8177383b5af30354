"""``kybern reset``: take the cluster off its machines, which stay as they were before the first deploy."""

from dataclasses import replace
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.reach import answering
from kybern.machines.errors import MachineError


def reset(
    topology: Topology = "lab",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    break_lock: BreakLock = False,
) -> None:
    """Take Kybern off all machines, with everything that the cluster holds. SSH and packages stay."""
    cluster = machines.read(topology, None)
    alive = answering(cluster.machines)
    if not alive:
        raise MachineError(f"cannot reset {cluster.name}: none of its machines answers by SSH")
    if not yes:
        typer.confirm(
            f"All that {cluster.name} holds is lost: objects, volumes on its machines, members of etcd. Go on?",
            abort=True,
        )
    silent = [each.name for each in cluster.machines if each not in alive]
    # Also a cluster without a quorum can be reset: those that answer keep others away.
    with holding(replace(cluster, machines=alive), "reset", break_lock):
        run_deploy(topology, cluster, only(each.name for each in alive) if silent else (), verb="reset")
    print(f"{len(alive)} machines of {cluster.name} are what they were before the first deploy.")
    if silent:
        raise MachineError(
            f"not reset: {', '.join(silent)} does not answer by SSH; run the same command again when it does, "
            "and before the next deploy"
        )
