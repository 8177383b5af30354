"""``kybern status``: how a cluster stands, in a table or JSON. The exit code tells programs: 0 whole, 1 degraded, 2 down."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import Node
from kybern.cli import machines
from kybern.cli.machines import Topology
from kybern.cli.progress import table
from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.machinery.errors import ApiError
from kybern.machines.errors import MachineError
from kybern.machines.expiry import Kept, kept
from kybern.machines.standing import HEADS, Seen, Standing, Told, leaders, question, standing, told
from kybern.machines.state import State
from kybern.machines.topology import Cluster
from kybern.reach.machines import Machines

CODES = {"whole": 0, "degraded": 1, "down": 2}
WITHIN = 10.0  # seconds a machine may take
EVERY = 2.0


def status(
    topology: Topology = "lab",
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every two seconds.")] = False,
) -> None:
    """How the cluster stands: machines, members of etcd, leaders, nodes, certificates, and what is wrong."""
    cluster = machines.read(topology, None)
    while True:
        found = standing(cluster, asyncio.run(look(cluster)), datetime.now(UTC))
        if watch:
            Console().clear()
        print(json.dumps(asdict(found), indent=2)) if output == "json" else show(cluster, found)
        if not watch:
            raise typer.Exit(CODES[found.verdict])
        time.sleep(EVERY)


def show(cluster: Cluster, found: Standing) -> None:
    table(HEADS, [line.cells for line in found.lines])
    print()
    for note in found.notes:
        print(note)
    for each in found.wrong:
        print(f"! {each}")
    print(f"\n{cluster.name} is {found.verdict}.")


async def look(cluster: Cluster) -> Seen:
    """Ask all machines and the API at once. What does not answer is part of the answer."""
    there = Machines(cluster)
    asked = (there.run(machine.name, question(cluster, machine), WITHIN) for machine in cluster.machines)
    (nodes, leading), texts = await asyncio.gather(_api(cluster), asyncio.gather(*asked))
    answers = {
        machine.name: told(text) if text else Told()
        for machine, text in zip(cluster.machines, texts, strict=True)
    }
    return Seen(answers, nodes, leading, _certificates(cluster))


async def _api(cluster: Cluster) -> tuple[Sequence[Node] | None, dict[str, str]]:
    found: dict[str, str] = {}
    try:
        async with Client(load(State.of(cluster.name).directory / "admin.conf")) as api:
            nodes, _ = await api.list(Node)
            leases, _ = await api.list(Lease, "kube-system")
    except (OSError, ApiError):
        return None, found
    for lease in leases:
        if lease.metadata.name in leaders(cluster):
            found[lease.metadata.name] = lease.spec.holder_identity or ""
    return nodes, found


def _certificates(cluster: Cluster) -> tuple[Kept, ...]:
    try:
        return kept(cluster, State.of(cluster.name).directory / "pki", datetime.now(UTC))
    except MachineError:
        return ()
