"""pyinfra's view of a topology: groups of (machine, data). The ten-line files in ``inventories/`` hand it on."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from kybern.machines.errors import MachineError
from kybern.machines.load import load
from kybern.machines.placing import located
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine

NETBOOT = "netboot"
"""What the machine that installs others is called."""

GREETING = 60.0
"""Seconds until a machine has greeted by SSH, and until it has looked at a key: slow hardware has much else to do."""

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
        "ssh_paramiko_connect_kwargs": {"banner_timeout": GREETING, "auth_timeout": GREETING},
        "state": str(state.directory),
        **becoming,
    }


def topology_file(topology: Path | str) -> Path:
    path = Path(topology)
    return path if path.suffix else Path("inventories") / "topology" / f"{topology}.yaml"


def inventory(topology: Path | str) -> Groups:
    """The groups of a topology file; a bare name is looked up beside the inventories."""
    cluster = load(topology_file(topology))
    if cluster.hypervisors:
        cluster = located(cluster, State.of(cluster.name).where())
    return Groups(
        masters=[host(cluster, machine) for machine in cluster.masters],
        workers=[host(cluster, machine) for machine in cluster.workers],
        etcd=[host(cluster, machine) for machine in cluster.members],
    )


def netboot_host(topology: Path | str) -> Host:
    """The machine that installs those of a topology over the network, as it is reached for that. Raises MachineError."""
    cluster = load(topology_file(topology))
    if cluster.netboot is None:
        raise MachineError(f'{cluster.name} has no "netboot" in its topology; see docs/how-to/netboot.md')
    server = Machine(NETBOOT, cluster.netboot.server, frozenset())
    return host(replace(cluster, ssh_user=cluster.netboot.ssh_user), server)
