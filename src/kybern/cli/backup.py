"""``kybern backup`` and ``kybern restore``: all that a cluster knows, as one file, and back.

A snapshot holds what is in etcd: every object, secrets among them. Keys and certificates are in the state directory, which
is the other half of a backup. What volumes hold is in neither.
"""

from pathlib import Path
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.progress import table
from kybern.cli.reach import answering
from kybern.machines import backups
from kybern.machines.backups import Snapshot
from kybern.machines.errors import MachineError
from kybern.machines.restoring import Restoring
from kybern.machines.state import State
from kybern.machines.topology import Cluster


def backup(  # each is a flag
    topology: Topology = "lab",
    member: Annotated[
        str, typer.Option("--from", help="The member of etcd to ask; the first that answers.")
    ] = "",
    to: Annotated[
        Path | None, typer.Option("--to", help="A directory on another disk or a mounted machine, for cron.")
    ] = None,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Leave only so many of the newest there; 0 leaves all.")
    ] = 0,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Take none; restore the newest one there for a test, and count its keys."
        ),
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Only show the snapshots that are there.")] = False,
) -> None:
    """Take a snapshot of etcd, prove that it can be restored, and bring it here. It works without a quorum, too."""
    cluster = machines.read(topology, None)
    place = to.absolute() if to else backups.folder(cluster.name)
    if not show:
        chosen = member or first_member(cluster)
        asked = f"check={newest(cluster, place).path.absolute()}" if check else f"folder={place}"
        run_deploy(topology, cluster, ("--data", asked, *only([chosen])), verb="backup")
    gone = backups.prune(place, keep) if keep and not show and not check else ()
    rows = [
        (each.name, str(each.revision), f"{each.size / 1e6:.1f} MB", each.checked or "-")
        for each in backups.known(place)
    ]
    table(("SNAPSHOT", "REVISION", "SIZE", "RESTORED"), rows)
    if gone:
        print(f"{len(gone)} older ones are gone, as --keep {keep} says.")
    print(
        f"They lie in {place}. Copy {State.of(cluster.name).directory} to another place: it holds the keys, too."
    )


def restore(
    topology: Topology = "lab",
    snapshot: Annotated[
        Path | None,
        typer.Option("--snapshot", help="A snapshot's file; the newest of 'kybern backup --list'."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    break_lock: BreakLock = False,
) -> None:
    """Set the cluster back to a snapshot, on all members of etcd; also when all of them have lost their data."""
    cluster = machines.read(topology, None)
    chosen = backups.read(snapshot) if snapshot else newest(cluster, backups.folder(cluster.name))
    silent = [each.name for each in cluster.machines if each not in answering(cluster.machines)]
    if missing := [each.name for each in cluster.members if each.name in silent]:
        raise MachineError(
            f"cannot restore {cluster.name}: {', '.join(missing)} does not answer, and each member of etcd is made anew; "
            "start it, or write the topology without it"
        )
    if not yes:
        typer.confirm(
            f"{cluster.name} goes back to {chosen.name}: all that was written since is lost. Go on?",
            abort=True,
        )
    with holding(cluster, "restore", break_lock):
        run = Restoring.begin(State.of(cluster.name).directory, chosen)
        run_deploy(topology, cluster, verb="restore")
        run_deploy(topology, cluster)
        run.end()
    print(
        f"{cluster.name} is what it was at {chosen.name}. What was there before is kept in /var/lib/etcd/before-{run.stamp}."
    )


def first_member(cluster: Cluster) -> str:
    for machine in answering(cluster.members):
        return machine.name
    raise MachineError(f"cannot back up {cluster.name}: no machine with a member of etcd answers; start one")


def newest(cluster: Cluster, place: Path) -> Snapshot:
    found = sorted(place.glob("*.sha256"))
    if not found:
        raise MachineError(
            f"cannot restore {cluster.name}: there is no snapshot in {place}; give one with --snapshot, or look "
            f"with 'kybern recover {cluster.name}', which finds those of the machines"
        )
    return backups.read(found[-1].with_suffix(".db"))
