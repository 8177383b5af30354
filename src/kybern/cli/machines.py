"""``kybern machines``: make, list, stop and remove the machines of a topology."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from kybern.cli.hypervisors import fleet
from kybern.cli.progress import Progress, table
from kybern.machines import box as boxes
from kybern.machines import driver as drivers
from kybern.machines import hypervisor, images, kinds, qemu, recipe, state
from kybern.machines.bundle import taking
from kybern.machines.driver import Hypervisor, Provider
from kybern.machines.errors import MachineError
from kybern.machines.lifecycle import Run
from kybern.machines.load import load
from kybern.machines.plan import Defined, domain_name
from kybern.machines.preflight import host as preflight
from kybern.machines.shapes import unfit
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine

app = typer.Typer(help="Machines of a topology, made with libvirt.", no_args_is_help=True)
TOPOLOGIES = Path("inventories") / "topology"


class Maker(StrEnum):
    LIBVIRT = "libvirt"
    VIRTUALBOX = "virtualbox"


class Kind(StrEnum):
    LXC = "lxc"
    QEMU = "qemu"


Topology = Annotated[str, typer.Argument(help="A topology file, or the name of one in inventories/topology.")]
TopologyOrName = Annotated[str, typer.Argument(metavar="[TOPOLOGY] NAME")]
Name = Annotated[str | None, typer.Argument(metavar="", show_default=False)]
DriverOption = Annotated[
    Kind | None, typer.Option("--driver", help="Containers or virtual machines; as the topology says.")
]
Uri = Annotated[str, typer.Option("--uri", help="Another libvirt of this host, as its URI.")]


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
    if kind is None:
        return cluster
    for machine in cluster.machines:
        if why := unfit(machine, kind.value):
            raise MachineError(why)
    if cluster.hypervisors and kind is not Kind.QEMU:
        raise MachineError(
            f"the hypervisors of {cluster.name} make virtual machines; leave out --driver {kind}"
        )
    return replace(cluster, driver=kind.value)


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
def provider(kind: str, uri: str, say: images.Say) -> Iterator[Hypervisor]:
    """The hypervisor for a kind of machines. libvirt is imported only here, where it is needed."""
    from kybern.machines.libvirt import Libvirt  # noqa: PLC0415  # topologies and images need no libvirt

    if kind not in kinds.DRIVERS:
        raise MachineError("this topology says 'driver: none': its machines are not made here")
    if urlsplit(uri).netloc:
        raise MachineError(
            f'{uri} is on another host; name it in the topology\'s "hypervisors" (docs/how-to/hypervisors.md)'
        )
    if not uri:
        hypervisor.start()
    with Libvirt(kinds.of(kind, say), uri) as found:
        yield found


def where(cluster: Cluster, uri: str, say: images.Say) -> list[str]:
    """The kinds of machines that a cluster has now, whatever its topology says."""
    if not uri and not hypervisor.answers():
        return []
    found = []
    for kind in kinds.DRIVERS:
        try:
            with provider(kind, uri, say) as each:
                if each.defined(cluster.name):
                    found.append(kind)
        except MachineError:
            continue  # this libvirt has no such driver, so it has no such machines
    return found


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
    kept = State.of(cluster.name)
    with Progress(f"Machines of {cluster.name}") as progress:
        if cluster.hypervisors:
            with fleet(cluster, uri, progress.say) as (several, silent):
                qemu.build(progress.say, taking.packages(cluster))
                run = Run(several, cluster, kept, progress.step, frozenset(silent))
                told(cluster, kept, run.up(replace=replace_machines, patience=qemu.Qemu.patience))
                return
        others = [kind for kind in where(cluster, uri, progress.say) if kind != cluster.driver]
        if others:
            raise MachineError(
                f"cluster {cluster.name} has machines made with --driver {others[0]}; "
                f"run 'kybern machines down {topology}' first, or say --driver {others[0]}"
            )
        with provider(cluster.driver, uri, progress.say) as found:
            kind = kinds.of(cluster.driver, progress.say)
            kind.image(taking.packages(cluster))
            run = Run(found, cluster, kept, progress.step)
            changes = run.up(replace=replace_machines, patience=kind.patience)
    told(cluster, kept, changes)


def told(cluster: Cluster, kept: State, changes: int) -> None:
    print(f"{len(cluster.machines)} machines of {cluster.name} run, {changes} changes.")
    print(f"Reach one with: ssh -F {kept.ssh_config} {cluster.machines[0].name}")


@app.command()
def down(topology: Topology = "lab", uri: Uri = "") -> None:
    """Remove the machines, their disks and their network. Keys and certificates of the cluster go with them."""
    cluster = read(topology, None)
    preflight.root()
    kept, removed = State.of(cluster.name), 0
    with Progress(f"Machines of {cluster.name}") as progress:
        if cluster.hypervisors:
            removed = remove_fleet(cluster, uri, progress)
        else:
            # One that was interrupted may have left a network or storage without a machine.
            for kind in where(cluster, uri, progress.say) or [cluster.driver]:
                with provider(kind, uri, progress.say) as found:
                    removed += Run(found, cluster, kept, progress.step).down()
    kept.remove()
    if not uri and not any(drivers.STORE.glob("*/*")):
        hypervisor.stop()
    print(f"{removed} machines of {cluster.name} removed.")


def remove_fleet(cluster: Cluster, uri: str, progress: Progress) -> int:
    """How many machines went. MachineError, which keeps the cluster's keys, when some may be left."""
    with fleet(cluster, uri, progress.say) as (several, silent):
        removed = Run(several, cluster, State.of(cluster.name), progress.step).down()
    if silent:
        raise MachineError(
            f"{removed} machines of {cluster.name} removed, and those of {', '.join(silent)} are left; run it again when "
            "it answers"
        )
    return removed


@app.command("list")
def list_machines(
    topology: Annotated[
        str, typer.Argument(help="One with hypervisors: theirs, instead of this host's.", show_default=False)
    ] = "",
    uri: Uri = "",
) -> None:
    """The machines of every cluster on this host, or on the hypervisors of a topology."""
    if topology and (cluster := read(topology, None)).hypervisors:
        list_fleet(cluster, uri)
        return
    rows = []
    for kind in kinds.DRIVERS if uri or hypervisor.answers() else ():
        with suppress(MachineError), provider(kind, uri, print) as found:
            rows += [
                (each.cluster, each.machine, each.address, kind, " ".join(sorted(each.roles)), state_of(each))
                for each in found.defined()
                if not topology or each.cluster == cluster.name
            ]
    if not rows:
        print("No machines.")
        return
    table(("CLUSTER", "NAME", "ADDRESS", "DRIVER", "ROLES", "STATE"), rows)


def list_fleet(cluster: Cluster, uri: str) -> None:
    """The machines of a cluster on its hypervisors; exit code 1 when one of them does not answer."""
    with fleet(cluster, uri, lambda text: print(text, file=sys.stderr)) as (several, silent):
        found = several.defined(cluster.name)
    rows = [
        (each.cluster, each.machine, each.address, each.hypervisor, " ".join(sorted(each.roles)), state_of(each))
        for each in sorted(found, key=lambda one: one.machine)
    ]  # fmt: skip
    if rows:
        table(("CLUSTER", "NAME", "ADDRESS", "HYPERVISOR", "ROLES", "STATE"), rows)
    else:
        print("No machines.")
    if silent:
        raise MachineError(f"machines of {', '.join(silent)} are not listed: it does not answer")


def state_of(machine: Defined) -> str:
    return "running" if machine.active else "off"


@contextmanager
def one(first: str, second: str | None, uri: str) -> Iterator[tuple[Provider, str]]:
    """The provider that has a machine, and the machine's domain."""
    cluster, machine = machine_of(first, second)
    preflight.root()
    with Progress(f"Machines of {cluster.name}") as progress:
        domain, kept = domain_name(cluster.name, machine.name), State.of(cluster.name)
        if cluster.hypervisors:
            with fleet(cluster, uri, progress.say) as (several, _silent):
                state.hang_up(kept, machine.name)
                yield several, domain
                return
        found = where(cluster, uri, progress.say)
        if not found:
            raise MachineError(f"cluster {cluster.name} has no machines; run 'kybern machines up' first")
        state.hang_up(kept, machine.name)
        with provider(found[0], uri, progress.say) as has:
            yield has, domain


@app.command()
def start(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """Start a machine that is off."""
    with one(first, name, uri) as (found, domain):
        found.start(domain)


@app.command()
def stop(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """Shut a machine down in order."""
    with one(first, name, uri) as (found, domain):
        found.stop(domain)


@app.command()
def kill(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """Pull a machine's plug. Its disk stays."""
    with one(first, name, uri) as (found, domain):
        found.kill(domain)


@app.command()
def shell(first: TopologyOrName, name: Name = None) -> None:
    """A shell on a machine, by SSH."""
    cluster, machine = machine_of(first, name)
    config = State.of(cluster.name).ssh_config
    os.execvp("ssh", ["ssh", "-F", str(config), machine.name])  # noqa: S606  # it becomes the shell


@app.command()
def console(first: TopologyOrName, name: Name = None, uri: Uri = "") -> None:
    """A machine's console, for when SSH does not answer. Ctrl-] leaves it."""
    with one(first, name, uri) as (found, domain):
        command = found.console(domain)
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


@app.command()
def box(
    provider: Annotated[
        Maker, typer.Option("--provider", help="Who shall start the box's machines.")
    ] = Maker.LIBVIRT,
) -> None:
    """Make a Vagrant box of the machine image, and print where it is. The Vagrantfile takes it as "kybern"."""
    preflight.root()
    with Progress("Box") as progress:
        made = boxes.build(provider.value, progress.say)
    print(made)


@app.command()
def keys(topology: Topology = "lab") -> None:
    """Make the keys of a cluster whose machines are made elsewhere: for ``vagrant up``. What exists is kept."""
    cluster = read(topology, None)
    made = State.of(cluster.name)
    state.prepare(cluster, made)
    print(made.directory)
