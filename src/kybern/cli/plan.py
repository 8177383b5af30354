"""``kybern plan`` and ``kybern apply``: what a deploy would do, and that and nothing else done.

A plan asks the machines and changes nothing on them. On this side it makes what a deploy makes as well: certificates that
are missing or worn, and the release.

``apply`` makes the plan again, under the cluster's lock, and refuses when it is another one: when a machine's facts or the
wanted files have changed since. What is executed is then held to the plan, operation by operation.
"""

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy, run_plan
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.progress import timed
from kybern.cli.reach import answering
from kybern.cli.resuming import Resume, broken
from kybern.machines import changes
from kybern.machines.changes import Plan
from kybern.machines.errors import MachineError
from kybern.machines.standing import ETCD_MEMBERS
from kybern.machines.state import write
from kybern.machines.topology import Cluster, Machine
from kybern.reach.machines import Machines

NOTHING, FAILED, SOMETHING = 0, 1, 2
WITHIN = 30.0  # seconds that a member of etcd may take


def plan(
    topology: Topology = "lab",
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
    save: Annotated[
        Path | None, typer.Option("--save", help="A file for 'kybern apply', readable by its owner alone.")
    ] = None,
    limit: Annotated[
        str, typer.Option("--limit", help="Only these machines or groups, with commas between.")
    ] = "",
    diffs: Annotated[bool, typer.Option("--diff/--no-diff", help="Show what differs in files.")] = True,
) -> None:
    """Say what a deploy would change, and change nothing. Exit code: 0 nothing, 2 something, 1 not all could be asked."""
    if output not in ("text", "json"):
        raise MachineError(f'there is no output "{output}"; say text or json')
    cluster = machines.read(topology, None)
    made = look(topology, cluster, limit)
    if save:
        write(save, changes.written(made).encode())
    if output == "json":
        sys.stdout.write(changes.written(made))
    else:
        print("\n".join(changes.told(made, diffs)))
    if made.silent:
        raise typer.Exit(FAILED)
    raise typer.Exit(NOTHING if made.is_empty else SOMETHING)


def apply(
    file: Annotated[Path, typer.Argument(help="A plan, of 'kybern plan --save'.")],
    resume: Resume = False,
    break_lock: BreakLock = False,
) -> None:
    """Do what a saved plan says, and nothing else. Refuses one that is stale, and names what has changed since."""
    saved = read(file)
    cluster = machines.read(saved.topology, None)
    if cluster.name != saved.cluster:
        raise MachineError(
            f"{file} is a plan for {saved.cluster}, and {saved.topology} is {cluster.name} now"
        )
    with holding(cluster, "apply", break_lock):
        extra = broken(cluster, saved.topology) if resume else {}
        now = look(saved.topology, cluster, ",".join(saved.machines))
        if reasons := changes.stale(saved, now, begun=resume):
            listed = "\n".join(f"  {reason}" for reason in reasons)
            raise MachineError(
                f"cannot apply {file}: it is stale\n{listed}\nmake it anew: kybern plan {saved.topology} --save {file}"
            )
        execute(cluster, saved, file, extra)


def execute(cluster: Cluster, saved: Plan, file: Path, extra: Mapping[str, str]) -> None:
    with timed("applied"):
        done = run_deploy(
            saved.topology,
            cluster,
            only(saved.machines),
            extra={changes.ONLY: str(file.absolute()), **extra},
        )
    print(f"{done} changes on {len(saved.machines)} machines of {cluster.name}.")
    if saved.silent:
        raise MachineError(
            f"not in the plan, and left as they are: {', '.join(saved.silent)}; start them, and plan again"
        )


def look(topology: str, cluster: Cluster, limit: str = "") -> Plan:
    """The plan as it is now, of all machines that answer. Raises MachineError when none does."""
    alive = answering(cluster.machines)
    if not alive:
        raise MachineError(f"cannot plan {cluster.name}: no machine answers by SSH; start them, or make them")
    chosen = chosen_of(cluster, limit)
    asked = [each.name for each in alive if each in chosen]
    if not asked:
        raise MachineError(f"cannot plan {cluster.name}: none of {limit} answers by SSH")
    return Plan(
        cluster=cluster.name,
        topology=topology,
        made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        machines=tuple(asked),
        silent=tuple(each.name for each in chosen if each not in alive),
        strangers=strangers(cluster, alive),
        changes=run_plan(topology, cluster, only(asked) if len(asked) < len(cluster.machines) else ()),
    )


def chosen_of(cluster: Cluster, limit: str) -> tuple[Machine, ...]:
    """The machines that a limit names, by themselves or by their group; all without one."""
    if not limit:
        return cluster.machines
    groups = {"masters": cluster.masters, "workers": cluster.workers, "etcd": cluster.members}
    groups |= {machine.name: (machine,) for machine in cluster.machines}
    wanted = limit.split(",")
    if unknown := [name for name in wanted if name not in groups]:
        raise MachineError(f'{cluster.name} has no machine or group "{unknown[0]}"')
    return tuple(each for each in cluster.machines if any(each in groups[name] for name in wanted))


def strangers(cluster: Cluster, alive: tuple[Machine, ...]) -> tuple[str, ...]:
    """Members of etcd that the topology does not have, as the first member that answers knows them."""
    there = Machines(cluster)
    for member in cluster.members:
        if member in alive and (said := asyncio.run(there.run(member.name, ETCD_MEMBERS, WITHIN)).strip()):
            return changes.strangers(said, [each.name for each in cluster.members])
    return ()


def read(file: Path) -> Plan:
    try:
        return changes.read(file.read_text())
    except FileNotFoundError as error:
        raise MachineError(f"there is no {file}; make it: kybern plan --save {file}") from error
    except changes.Unreadable as error:
        raise MachineError(f"cannot read {file}: {error}; make it anew: kybern plan --save {file}") from error
