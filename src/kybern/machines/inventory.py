"""pyinfra's view of a topology: groups of (machine, data). The ten-line files in ``inventories/`` hand it on."""

from pathlib import Path
from typing import Any, NamedTuple

from kybern.machines.load import load
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine

type Host = tuple[str, dict[str, Any]]


class Groups(NamedTuple):
    """The machines by what they do; one with several roles is in several groups, with the same data."""

    masters: list[Host]
    workers: list[Host]
    etcd: list[Host]


def host(cluster: Cluster, machine: Machine) -> Host:
    """A machine for our own SSH connector, which names the host as the machine, with what connector and roles need."""
    state = State.of(cluster.name)
    # Whoever is not root becomes it for each command; files are uploaded as who he is, to a place of his own.
    becoming = {} if cluster.ssh_user == "root" else {"_sudo": True}
    return f"@machine/{machine.name}", {
        "cluster": cluster,
        "machine": machine,
        "ssh_hostname": str(machine.address),
        "ssh_user": cluster.ssh_user,
        "ssh_key": str(state.key),
        "ssh_known_hosts_file": str(state.known_hosts),
        "state": str(state.directory),
        **becoming,
    }


def inventory(topology: Path | str) -> Groups:
    """The groups of a topology file; a bare name is looked up beside the inventories."""
    path = Path(topology)
    if not path.suffix:
        path = Path("inventories") / "topology" / f"{topology}.yaml"
    cluster = load(path)
    return Groups(
        masters=[host(cluster, machine) for machine in cluster.masters],
        workers=[host(cluster, machine) for machine in cluster.workers],
        etcd=[host(cluster, machine) for machine in cluster.members],
    )
