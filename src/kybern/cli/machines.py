"""``kybern machines``: make, list, stop and remove the machines of a topology."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kybern.cli.progress import Progress, table
from kybern.machines import hypervisor, images, kinds, preflight, recipe
from kybern.machines.driver import Provider
from kybern.machines.errors import MachineError
from kybern.machines.lifecycle import Run
from kybern.machines.load import load
from kybern.machines.plan import domain_name
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine

app = typer.Typer(help="Machines of a topology, made with libvirt.", no_args_is_help=True)
TOPOLOGIES = Path("inventories") / "topology"


class Kind(StrEnum):
    LXC = "lxc"
    QEMU = "qemu"


Topology = Annotated[str, typer.Argument(help="A topology file, or the name of one in inventories/topology.")]
TopologyOrName = Annotated[str, typer.Argument(metavar="[TOPOLOGY] NAME")]
Name = Annotated[str | None, typer.Argument(metavar="", show_default=False)]
DriverOption = Annotated[
    Kind | None, typer.Option("--driver", help="Containers or virtual machines; as the topology says.")
]
Uri = Annotated[str, typer.Option("--uri", help="Another hypervisor, as a libvirt URI.")]


def topology_path(given: str) -> Path:
    """``lab`` is ``inventories/topology/lab.yaml``."""
    path = Path(given)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return path
    named = TOPOLOGIES / f"{given}.yaml"
    if named.exists():
        return named
    known = ", ".join(sorted(each.stem for each in TOPOLOGIES.glob("*.yaml"))) or "none here"
    raise MachineError(
        f'there is no topology "{given}"; give a file, or one of inventories/topology: {known}'
    )


def read(given: str, kind: Kind | None) -> Cluster:
    cluster = load(topology_path(given))
    return replace(cluster, driver=kind.value) if kind else cluster


def machine_of(first: str, second: str | None) -> tuple[Cluster, Machine]:
    """``lab master-1``, or only ``master-1`` of the topology lab."""
    topology, name = ("lab", first) if second is None else (first, second)
    cluster = read(topology, None)
    for machine in cluster.machines:
        if machine.name == name:
            return cluster, machine
    known = ", ".join(machine.name for machine in cluster.machines)
    raise MachineError(f'cluster {cluster.name} has no machine "{name}"; it has {known}')


@contextmanager
def provider(cluster: Cluster, uri: str, progress: Progress) -> Iterator[Provider]:
    """The hypervisor of a cluster. libvirt is imported only here, where it is needed."""
    from kybern.machines.libvirt import Libvirt  # noqa: PLC0415  # topologies and images need no libvirt

    if cluster.driver == "none":
        raise MachineError(f'cluster {cluster.name} has "driver: none": its machines are not made here')
    if not uri:
        hypervisor.start()
    with Libvirt(kinds.of(cluster.driver, progress.say), uri) as found:
        yield found


@app.command()
def up(
    topology: Topology = "lab",
    driver: DriverOption = None,
    uri: Uri = "",
    replace_machines: Annotated[
        bool, typer.Option("--replace", help="Remove machines that cannot become what the topology says.")
    ] = False,
) -> None:
    """Make and start the machines, and wait until they answer by SSH. Changes nothing that is as wanted."""
    cluster = read(topology, driver)
    preflight.check(cluster)
    state = State.of(cluster.name)
    with Progress(f"Machines of {cluster.name}") as progress, provider(cluster, uri, progress) as hypervisor_:
        kinds.of(cluster.driver, progress.say).image()
        changes = Run(hypervisor_, cluster, state, progress.step).up(replace=replace_machines)
    print(
        f"{len(cluster.machines)} machines of {cluster.name} run, {changes} changes. Reach one with: "
        f"ssh -F {state.ssh_config} {cluster.machines[0].name}"
    )


@app.command()
def down(topology: Topology = "lab", driver: DriverOption = None, uri: Uri = "") -> None:
    """Remove the machines, their disks and their network. Keys and certificates of the cluster go with them."""
    cluster = read(topology, driver)
    preflight.root()
    state = State.of(cluster.name)
    with Progress(f"Machines of {cluster.name}") as progress, provider(cluster, uri, progress) as hypervisor_:
        removed = Run(hypervisor_, cluster, state, progress.step).down()
        last = not hypervisor_.defined()
    state.remove()
    if last and not uri:
        hypervisor.stop()
    print(f"{removed} machines of {cluster.name} removed.")


@app.command("list")
def list_machines(
    uri: Uri = "",
    driver: Annotated[Kind, typer.Option("--driver", help="Containers or virtual machines.")] = Kind.LXC,
) -> None:
    """The machines of every cluster on this host."""
    from kybern.machines.libvirt import Libvirt  # noqa: PLC0415  # as above

    if not uri and not hypervisor.answers():
        print("No machines: no libvirtd runs here.")
        return
    with Libvirt(kinds.of(driver.value, print), uri) as found:
        rows = [
            (
                each.cluster,
                each.machine,
                each.address,
                " ".join(sorted(each.roles)),
                "running" if each.active else "off",
            )
            for each in found.defined()
        ]
    table(("CLUSTER", "NAME", "ADDRESS", "ROLES", "STATE"), rows)


def _one(first: str, second: str | None, uri: str, verb: str) -> None:
    cluster, machine = machine_of(first, second)
    preflight.root()
    with Progress(f"Machines of {cluster.name}") as progress, provider(cluster, uri, progress) as found:
        getattr(found, verb)(domain_name(cluster.name, machine.name))


@app.command()
def start(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """Start a machine that is off."""
    _one(first, name, uri, "start")


@app.command()
def stop(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """Shut a machine down in order."""
    _one(first, name, uri, "stop")


@app.command()
def kill(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """Pull a machine's plug. Its disk stays."""
    _one(first, name, uri, "kill")


@app.command()
def shell(first: TopologyOrName, name: Name = None) -> None:
    """A shell on a machine, by SSH."""
    cluster, machine = machine_of(first, name)
    config = State.of(cluster.name).ssh_config
    os.execvp("ssh", ["ssh", "-F", str(config), machine.name])  # noqa: S606  # it becomes the shell


@app.command()
def console(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """A machine's console, for when SSH does not answer. Ctrl-] leaves it."""
    cluster, machine = machine_of(first, name)
    with Progress("Console") as progress, provider(cluster, uri, progress) as found:
        command = found.console(domain_name(cluster.name, machine.name))
    os.execvp(command[0], command)  # noqa: S606  # it becomes the console


@app.command()
def image(
    driver: Annotated[
        Kind, typer.Option("--driver", help="For containers or for virtual machines.")
    ] = Kind.LXC,
) -> None:
    """Build the machine image, if it is not there, and print where it is."""
    preflight.root()
    with Progress("Image") as progress:
        kinds.of(driver.value, progress.say).image()
    made = recipe.container() if driver is Kind.LXC else recipe.virtual_machine()
    sys.stdout.write(f"{images.STORE / made.digest}\n")
