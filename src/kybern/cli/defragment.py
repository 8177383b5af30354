"""``kybern defragment``: etcd's files become as small as what they hold, and an alarm for want of space ends."""

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.reach import answering
from kybern.machines.errors import MachineError


def defragment(topology: Topology = "lab", break_lock: BreakLock = False) -> None:
    """Give the unused space of etcd's files back, one member at a time. Does nothing where it is not worth it."""
    cluster = machines.read(topology, None)
    if silent := [each.name for each in cluster.members if each not in answering(cluster.members)]:
        raise MachineError(
            f"cannot defragment {cluster.name}: {', '.join(silent)} does not answer, and the others would be fewer still "
            f"meanwhile; start it, or run: kybern remove {topology} {silent[0]}"
        )
    with holding(cluster, "defragment", break_lock):
        changes = run_deploy(
            topology, cluster, only(each.name for each in cluster.members), verb="defragment"
        )
    print(f"{changes} changes on {len(cluster.members)} members of etcd of {cluster.name}.")
