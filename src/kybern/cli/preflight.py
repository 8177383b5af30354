"""``kybern preflight``: whether machines that are there already can take a deploy, all that hinders it in one report."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.machines import Topology
from kybern.cli.progress import table
from kybern.machines.errors import MachineError
from kybern.machines.parts import answers
from kybern.machines.preflight.checks import Finding, findings
from kybern.machines.preflight.questions import script
from kybern.machines.preflight.record import Facts, Level
from kybern.machines.topology import Cluster, Machine
from kybern.reach.machines import Machines

WITHIN = 60.0  # seconds a machine may take


def preflight(
    topology: Topology = "lab",
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
    everything: Annotated[bool, typer.Option("--all", help="Show what is well, too.")] = False,
) -> None:
    """Look at machines before a deploy, and change nothing. Exit code: 1 when something would fail it."""
    if output not in ("text", "json"):
        raise MachineError(f'there is no output "{output}"; say text or json')
    cluster = machines.read(topology, None)
    found = findings(cluster, asyncio.run(look(cluster)))
    if output == "json":
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        show(cluster, found, everything=everything)
    if any(one.level is Level.FAILURE for one in found):
        raise typer.Exit(1)


def show(cluster: Cluster, found: Sequence[Finding], *, everything: bool = False) -> None:
    bad = [one for one in found if one.level is not Level.PASSED]
    if shown := (found if everything else bad):
        rows = [(one.level.upper(), one.machine, one.check, one.said, one.remedy) for one in shown]
        table(("LEVEL", "MACHINE", "CHECK", "FOUND", "WHAT TO DO"), rows)
        print()
    failures = sum(one.level is Level.FAILURE for one in found)
    print(
        f"{cluster.name}: {failures} failures, {len(bad) - failures} warnings, {len(found) - len(bad)} passed."
    )


async def look(cluster: Cluster) -> Mapping[str, Facts]:
    """Ask all machines at once, each by one script."""
    found = await asyncio.gather(*(_ask(cluster, each) for each in cluster.machines))
    return {machine.name: facts for machine, facts in zip(cluster.machines, found, strict=True)}


async def _ask(cluster: Cluster, machine: Machine) -> Facts:
    began = time.time()
    said = await Machines(cluster).run(machine.name, script(cluster, machine), WITHIN)
    if said or cluster.ssh_user == "root":
        return Facts(dict(answers(said)), began, time.time())
    # Told apart: nobody is there, or the user may not become root.
    there = await Machines(cluster, plain=True).run(machine.name, "echo there", WITHIN)
    return Facts(refused=bool(there))
