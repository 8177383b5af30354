"""``kybern remove``: take a machine out of a cluster, a dead one too, any master too. It may be run again at any point.

In this order: its pods go elsewhere; etcd forgets its member, when the others have a quorum; what the deploy made is taken
off it; the Node is deleted. Other machines are asked nothing but etcd's members. That the machine's line leaves the
topology is the operator's to write, and the next deploy tells the others.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from kybern.api.core_v1 import Node
from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.drain import drain, forget, volumes_lost_with
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Name, TopologyOrName
from kybern.cli.progress import Progress
from kybern.cli.reach import answering
from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.machines.errors import MachineError
from kybern.machines.state import State, write
from kybern.machines.topology import Cluster, Machine


def remove(
    first: TopologyOrName,
    name: Name = None,
    seconds: Annotated[
        float, typer.Option("--drain-seconds", help="How long its pods may take to go elsewhere.")
    ] = 300.0,
    lose_volumes: Annotated[
        bool, typer.Option("--lose-volumes", help="Go on although volumes that only it has are lost.")
    ] = False,
    break_lock: BreakLock = False,
) -> None:
    """Take a machine out of its cluster: empty it, have etcd and the API forget it, and take Kybern off it."""
    topology, leaving = ("lab", first) if name is None else (first, name)
    cluster = machines.read(topology, None)
    check(cluster, leaving)
    with holding(cluster, f"remove {leaving}", break_lock):
        take_out(topology, cluster, leaving, seconds, lose_volumes)
    print(f"{leaving} is no part of {cluster.name} any more.")
    if leaving in {each.name for each in cluster.machines}:
        print(
            f"Now delete its line from the topology, or put another machine's there, and run 'kybern deploy {topology}', "
            f"which tells the others. With the line still there a deploy takes it in again, as a new machine."
        )


def take_out(topology: str, cluster: Cluster, leaving: str, seconds: float, lose_volumes: bool) -> None:
    """The steps, in their order."""
    machine = next((each for each in cluster.machines if each.name == leaving), None)
    with Progress(f"Remove {leaving} from {cluster.name}") as progress:
        alive = answering(cluster.machines)
        if machine is None and not asyncio.run(_known(cluster, leaving)):
            raise MachineError(
                f"{cluster.name} knows no {leaving}: neither the topology, nor etcd's members, nor the nodes"
            )
        progress.step(leaving, "answers" if machine in alive else "does not answer; going on without it")
        asyncio.run(_empty(cluster, leaving, seconds, lose_volumes, machine in alive, progress))
    known = State.of(cluster.name).directory / "etcd-bootstrapped"
    remembered = known.read_text().split() if known.exists() else [each.name for each in cluster.members]
    members = asked(alive, leaving, remembered)
    if not members:
        raise MachineError(
            f"cannot remove {leaving}: no other machine with a member of etcd answers; start one first"
        )
    run_deploy(topology, cluster, ("--data", f"leaving={leaving}", *only(members)), verb="remove")
    if known.exists():
        write(known, "".join(f"{each}\n" for each in remembered if each != leaving).encode())
    if machine in alive:
        run_deploy(topology, cluster, only([leaving]), verb="reset")
    asyncio.run(_forget(cluster, leaving))


def asked(alive: Iterable[Machine], leaving: str, remembered: Sequence[str]) -> list[str]:
    """Who is to have etcd forget it. One that was removed before may be in the topology still, and knows nobody."""
    return [each.name for each in alive if each.is_etcd and each.name in remembered and each.name != leaving]


def check(cluster: Cluster, leaving: str) -> None:
    """Refuse what would leave no cluster. Raises MachineError."""
    for role, of_role in (("master", cluster.masters), ("member of etcd", cluster.members)):
        if [each.name for each in of_role] == [leaving]:
            raise MachineError(f"cannot remove {leaving}: it is the only {role} of {cluster.name}")


def _client(cluster: Cluster) -> Client:
    return Client(load(State.of(cluster.name).directory / "admin.conf"))


async def _known(cluster: Cluster, name: str) -> bool:
    """Whether a machine that the topology does not have any more is a node, or was a member of etcd."""
    note = State.of(cluster.name).directory / "etcd-bootstrapped"
    if note.exists() and name in note.read_text().split():
        return True
    async with _client(cluster) as api:
        nodes, _ = await api.list(Node)
    return name in {node.metadata.name for node in nodes}


async def _empty(
    cluster: Cluster, name: str, seconds: float, lose_volumes: bool, alive: bool, progress: Progress
) -> None:
    async with _client(cluster) as api:
        lost = await volumes_lost_with(api, name)
        if lost and not lose_volumes:
            raise MachineError(
                f"cannot remove {name}: the volumes of {', '.join(lost)} are on its disk alone; copy what is needed "
                "and delete the claims, or say --lose-volumes"
            )
        if alive:
            progress.step(name, "its pods go elsewhere")
            await drain(api, name, seconds, lambda text: progress.step(name, text))


async def _forget(cluster: Cluster, name: str) -> None:
    async with _client(cluster) as api:
        await forget(api, name)
