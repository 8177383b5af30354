"""``kybern machines snapshot``: all virtual machines of a cluster at one moment, and back to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.hypervisors import fleet, refuse_silent
from kybern.cli.machines import Topology, Uri
from kybern.cli.progress import Progress, table
from kybern.machines import state
from kybern.machines.booting import wait_for_ssh
from kybern.machines.moments import Moments
from kybern.machines.preflight import host as preflight
from kybern.machines.qemu import Qemu
from kybern.machines.state import State
from kybern.machines.topology import Cluster

app = typer.Typer(help="Snapshots of virtual machines (driver: qemu).", no_args_is_help=True)
Given = Annotated[str, typer.Argument(metavar="NAME", help="The snapshot's name.")]


@contextmanager
def moments(topology: str, uri: str) -> Iterator[tuple[Cluster, Moments, Progress]]:
    cluster = machines.read(topology, None)
    preflight.root()
    with Progress(f"Snapshots of {cluster.name}") as progress:
        if cluster.hypervisors:
            with fleet(cluster, uri, progress.say) as (several, silent):
                refuse_silent(cluster, silent, "take or use snapshots")
                yield cluster, Moments(several, cluster.name), progress
            return
        with machines.provider("qemu", uri, progress.say) as found:
            yield cluster, Moments(found, cluster.name), progress


@app.command()
def take(topology: Topology, name: Given, uri: Uri = "") -> None:
    """Take one of every machine. They stand still meanwhile: seconds, by their memory."""
    with moments(topology, uri) as (_cluster, found, _progress):
        number = found.take(name)
    print(f"Snapshot {name} of {number} machines taken.")


@app.command("list")
def list_snapshots(topology: Topology = "lab", uri: Uri = "") -> None:
    """The snapshots of a cluster, and of which machines they are."""
    with moments(topology, uri) as (_cluster, found, _progress):
        known = found.list()
    rows = [
        (name, datetime.fromtimestamp(min(one.when for one in by.values()), UTC).isoformat(), " ".join(sorted(by)))
        for name, by in known.items()
    ]  # fmt: skip
    if not rows:
        print("No snapshots.")
        return
    table(("SNAPSHOT", "TAKEN", "MACHINES"), rows)


@app.command("return")
def return_to(topology: Topology, name: Given, uri: Uri = "") -> None:
    """Give every machine the disks that it had then; what came later is lost. Those that ran then boot."""
    with moments(topology, uri) as (cluster, found, progress):
        for machine in cluster.machines:
            state.hang_up(State.of(cluster.name), machine.name)
        run = found.return_to(name)
        for machine in cluster.machines:
            if machine.name in run:
                progress.step(machine.name, "boots")
                wait_for_ssh(machine, Qemu.patience)
    print(f"{len(cluster.machines)} machines of {cluster.name} are as in {name}; {len(run)} run.")


@app.command()
def remove(topology: Topology, name: Given, uri: Uri = "") -> None:
    """Remove a snapshot; the machines stay as they are."""
    with moments(topology, uri) as (_cluster, found, _progress):
        number = found.remove(name)
    print(f"Snapshot {name} of {number} machines removed.")
