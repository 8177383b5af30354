"""The hypervisors of a topology, for the commands that make and list machines."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kybern.machines.errors import MachineError
from kybern.machines.fleet import Fleet
from kybern.machines.images import Say
from kybern.machines.topology import Cluster


@contextmanager
def fleet(cluster: Cluster, uri: str, say: Say) -> Iterator[tuple[Fleet, Mapping[str, MachineError]]]:
    """Those that answer, and the errors of the others, by their names; one at least answers."""
    from kybern.machines.remote import reached  # noqa: PLC0415  # topologies and images need no libvirt

    if uri:
        raise MachineError(f"cluster {cluster.name} names its hypervisors in its topology; leave out '--uri'")
    living, silent = reached(cluster, say)
    try:
        for error in silent.values():
            say(str(error))
        if not living:
            raise MachineError(f"none of the hypervisors of {cluster.name} answers: {', '.join(silent)}")
        yield Fleet(living), silent
    finally:
        for each in living.values():
            each.close()


def refuse_silent(cluster: Cluster, silent: Mapping[str, MachineError], what: str) -> None:
    """What is of all machines or of none."""
    if silent:
        raise MachineError(
            f"cannot {what} of {cluster.name}: {', '.join(silent)} does not answer, and all machines are needed"
        )
