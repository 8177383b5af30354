"""What a cluster keeps for its life, held against the topology before anything is done.

Needs nothing. Leaves nothing: it stands first in a deploy, and ends the run while it is being prepared.
"""

from pyinfra.api.exceptions import OperationError

from kybern.machines.settled import refusal
from kybern.machines.topology import Cluster, Machine
from roles.nature import nature


def settled(cluster: Cluster, machine: Machine) -> None:
    """Raises OperationError on a machine that was deployed with other families, ranges or another domain."""
    if why := refusal(cluster, machine.name, nature().settled):
        raise OperationError(why)
