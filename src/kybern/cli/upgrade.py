"""``kybern upgrade``: bring a running cluster to the release of this tree, one machine after the other.

What differs is found first, and whether it may be: all that speaks against it is told at once, before anything is touched.
Then members of etcd and masters go one at a time, workers in batches. A machine that does not come well goes back to the
release that it ran before, and the run ends there. It may be interrupted at any point and run again.
"""

from contextlib import nullcontext
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import only, run_plan
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.progress import table
from kybern.cli.rolling import Rolling
from kybern.daemon.version import VERSION
from kybern.machines.changes import differing
from kybern.machines.errors import MachineError
from kybern.machines.skew import etcd_refusals, refusals
from kybern.machines.topology import Cluster, Machine
from kybern.machines.upgrading import (
    Looked,
    Step,
    api_older,
    daemons,
    hindrances,
    left_cordoned,
    members,
    steps,
    unwell,
)


def upgrade(  # noqa: PLR0913, PLR0917  # a command's options
    topology: Topology = "lab",
    batch: Annotated[int, typer.Option("--batch", min=1, help="How many workers at once.")] = 1,
    seconds: Annotated[
        float, typer.Option("--drain-seconds", help="How long the pods of a node may take to go elsewhere.")
    ] = 300.0,
    packages: Annotated[
        bool, typer.Option("--packages", help="Bring the Debian packages of the roles to their newest, too.")
    ] = False,
    allow_downgrade: Annotated[
        bool, typer.Option("--allow-downgrade", help="Go to an older patch version, if the release is one.")
    ] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would be done.")] = False,
    rollback: Annotated[
        str,
        typer.Option(
            "--rollback", help="Put this machine back to the release that it ran before, and nothing else."
        ),
    ] = "",
    break_lock: BreakLock = False,
) -> None:
    """Bring the cluster to this release: one master at a time, workers in batches, each drained and well before the next."""
    cluster = machines.read(topology, None)
    run = Rolling(topology, cluster, seconds, packages, VERSION)
    with nullcontext() if dry and not rollback else holding(cluster, "upgrade", break_lock):
        if rollback:
            put_back(run, cluster, rollback)
        else:
            forward(run, batch, allow_downgrade, dry)


def forward(run: Rolling, batch: int, allow_downgrade: bool, dry: bool) -> None:
    """All machines to the release of this tree. Raises MachineError when something speaks against it, or stops it."""
    cluster, packages = run.cluster, run.packages
    looked = run.look(packages=packages)
    if against := refused(cluster, looked, allow_downgrade):
        raise MachineError(
            f"cannot upgrade {cluster.name} to {VERSION}; nothing was touched:\n  " + "\n  ".join(against)
        )
    silent = [each for each in cluster.machines if not looked.of(each.name).told.answers]
    plan = planned(run, looked, batch, silent)
    if dry:
        for step in plan:
            print(f"{step.names}: deploys/{step.verb}.py")
    for step in () if dry else plan:
        run.run(step)
    report(run, plan, silent, dry)


def refused(cluster: Cluster, looked: Looked, allow_downgrade: bool) -> list[str]:
    """All that speaks against an upgrade, whatever it would be."""
    against = [*refusals(VERSION, daemons(cluster, looked), allow_downgrade=allow_downgrade)]
    against += etcd_refusals(*members(cluster, looked))
    masters = {machine.name for machine in (*cluster.masters, *cluster.members)}
    against += [
        f"{name} does not answer by SSH" for name in sorted(masters) if not looked.of(name).told.answers
    ]
    return against


def planned(run: Rolling, looked: Looked, batch: int, silent: list[Machine]) -> tuple[Step, ...]:
    """The steps that are left. Raises MachineError when a machine that is left alone is not well."""
    cluster = run.cluster
    there = [machine for machine in cluster.machines if machine not in silent]
    more = ("--data", "packages=latest") if run.packages else ()
    named = only(each.name for each in there) if silent else ()
    changes = run_plan(run.topology, cluster, (*more, *named))
    due = {*differing(changes), *left_cordoned(cluster, looked)} & {machine.name for machine in there}
    left = [machine for machine in there if machine.name not in due]
    if due and (wrong := [*unwell(cluster, looked, left), *hindrances(cluster, looked, due)]):
        raise MachineError(
            f"cannot upgrade {cluster.name}; nothing was touched: {'; '.join(dict.fromkeys(wrong))}; mend that first, or "
            f"put a machine back to the release that it ran before: kybern upgrade {run.topology} --rollback MACHINE"
        )
    return steps(cluster, due, batch, api_older(cluster, looked, VERSION))


def put_back(run: Rolling, cluster: Cluster, name: str) -> None:
    _, machine = machines.machine_of(run.topology, name)
    looked = run.look()
    now = looked.of(name)
    if not now.before:
        raise MachineError(
            f"cannot put {name} back: it does not answer, or no release that it ran before is kept on it"
        )
    if wrong := hindrances(cluster, looked, {name}):
        raise MachineError(f"cannot put {name} back: {'; '.join(wrong)}; mend that first")
    run.back([machine])
    print(f"{name} runs {now.before} and is well; {run.changes} changes.")


def report(run: Rolling, plan: tuple[Step, ...], silent: list[Machine], dry: bool) -> None:
    count = len(run.cluster.machines) - len(silent)
    if not plan:
        print(f"Nothing to upgrade: {count} machines of {run.cluster.name} run {VERSION}; 0 changes.")
    elif not dry:
        table(
            ("STEP", "MACHINES", "SECONDS"),
            [(step.verb, step.names, f"{seconds:.0f}") for step, seconds in run.seconds],
        )
        print(f"\n{run.cluster.name} runs {VERSION}: {run.changes} changes on {count} machines.")
    if silent:
        names = ", ".join(each.name for each in silent)
        raise MachineError(
            f"not upgraded: {names} does not answer by SSH; start it and run the same command again"
        )
