"""``kybern lab``, ``kybern deploy``, ``kybern verify``: the steps from nothing to a cluster, each usable by itself.

Deploying is pyinfra's work and verifying testinfra's; here they are started, followed and told about. A step that fails ends
the run with its own words and a non-zero exit; what was done stays, and the same command goes on from there.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kybern.cli import machines
from kybern.cli.deploys import StepFailed, only, run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import DriverOption, Kind, Topology
from kybern.cli.plan import look
from kybern.cli.progress import table, timed
from kybern.cli.reach import answering
from kybern.cli.resuming import Resume, broken
from kybern.machines.changes import told
from kybern.machines.errors import MachineError
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine

# One line of sums instead of pytest's report: OK (0) or CRITICAL (2).
NAGIOS = ("--nagios", "-q")


def nagios_line(topology: str, cluster: Cluster) -> int:
    """Print how the tests went in one line; gives 0 (all is well), 2 (it is not) or 3 (nothing could be found out)."""
    done = subprocess.run(
        checks(NAGIOS), check=False, env=environment(topology, cluster), stdout=subprocess.PIPE, text=True
    )
    line = next((each for each in done.stdout.splitlines() if each.startswith("TESTINFRA")), "")
    print(
        line or f"UNKNOWN - the tests of {cluster.name} did not run; kybern verify {cluster.name} tells why"
    )
    return done.returncode if line else 3


def checks(more: Sequence[str] = ()) -> list[str]:
    """What runs the testinfra tests; ``environment`` tells them of which cluster."""
    return [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:randomly", "tests/infra", *more]


def environment(topology: str, cluster: Cluster) -> dict[str, str]:
    """What tells the tests which cluster is meant, and where its topology lies when that was given as a file."""
    where = {"KYBERN_TOPOLOGY": topology} if Path(topology).suffix in (".yaml", ".yml") else {}
    return {**os.environ, **where, "KYBERN_CLUSTER": cluster.name}


def run_verify(topology: str, cluster: Cluster, more: tuple[str, ...] = ()) -> None:
    """Run the testinfra tests on every machine. Raises StepFailed."""
    if subprocess.run(checks(more), check=False, env=environment(topology, cluster)).returncode:
        raise StepFailed(f"machines of {cluster.name} are not as they should be; see the tests above")


def deploy(  # noqa: PLR0913, PLR0917  # each is a flag
    topology: Topology = "lab",
    driver: DriverOption = None,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would change.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what changes in files; secrets are never shown.")
    ] = False,
    limit: Annotated[
        str, typer.Option("--limit", help="Only these machines or groups, with commas between.")
    ] = "",
    resume: Resume = False,
    break_lock: BreakLock = False,
) -> None:
    """Deploy the cluster onto its machines. Changes nothing that is as it should be."""
    cluster = machines.read(topology, driver)
    if dry or diff:
        print("\n".join(told(look(topology, cluster, limit), diff)))
    if dry:
        return
    silent = () if limit else silent_ones(cluster)
    more = only(limit.split(",")) if limit else ()
    if silent:
        more = only(each.name for each in cluster.machines if each not in silent)
    with holding(cluster, "deploy", break_lock):
        extra = broken(cluster, topology) if resume else {}
        with timed("deployed"):
            changes = run_deploy(topology, cluster, more, extra=extra)
    print(f"{changes} changes on {len(cluster.machines) - len(silent)} machines of {cluster.name}.")
    if silent:
        names = ", ".join(each.name for each in silent)
        raise MachineError(
            f"not deployed: {names} does not answer by SSH; start it and deploy again, or run: "
            f"kybern remove {topology} {silent[0].name}"
        )


def silent_ones(cluster: Cluster) -> tuple[Machine, ...]:
    """Who does not answer, when the others may be deployed without. Raises MachineError when they may not."""
    alive = answering(cluster.machines)
    silent = tuple(each for each in cluster.machines if each not in alive)
    members = [each for each in cluster.members if each in alive]
    names = ", ".join(each.name for each in silent)
    if silent and not (State.of(cluster.name).directory / "etcd-bootstrapped").exists():
        raise MachineError(
            f"cannot begin {cluster.name} without {names}: no answer by SSH; start it, or leave it out"
        )
    if len(members) <= len(cluster.members) // 2:
        raise MachineError(
            f"cannot deploy {cluster.name}: no answer by SSH from {names}, and the others are no quorum of etcd; "
            f"start them, or run: kybern recover {cluster.name}"
        )
    return silent


def verify(
    topology: Topology = "lab",
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line and an exit code, as monitoring plugins answer.")
    ] = False,
) -> None:
    """Look at every machine with testinfra."""
    cluster = machines.read(topology, None)
    if nagios:
        raise typer.Exit(nagios_line(topology, cluster))
    run_verify(topology, cluster)


def lab(topology: Topology = "lab", driver: DriverOption = None) -> None:
    """Everything: machines, deploy, verification. A second run finds everything there and changes nothing."""
    cluster = machines.read(topology, driver)
    announce(cluster)
    began = time.monotonic()
    with timed("machines"):
        machines.up(topology, Kind(cluster.driver), "", replace_machines=False)
    with timed("deploy"), holding(cluster, "lab"):
        changes = run_deploy(topology, cluster)
    ready = time.monotonic() - began
    with timed("verification"):
        run_verify(topology, cluster)
    summary(cluster, changes, ready)


def announce(cluster: Cluster) -> None:
    memory = sum(machine.memory for machine in cluster.machines) // 1024
    kind = "containers (libvirt LXC)" if cluster.driver == "lxc" else "virtual machines (libvirt QEMU)"
    print(
        f"Cluster {cluster.name}: {len(cluster.masters)} masters and {len(cluster.workers)} workers as {kind},\n"
        f"  network {cluster.network}, at most {memory} GiB of memory. This makes the machine image if there is none,\n"
        f"  makes and starts the machines, deploys Kubernetes onto them with pyinfra, and verifies them with testinfra.\n"
        f"  'make lab-down' removes all of it again.",
        flush=True,
    )


def summary(cluster: Cluster, changes: int, seconds: float) -> None:
    config = State.of(cluster.name).directory / "admin.conf"
    print()
    table(
        ("MACHINE", "ADDRESS", "ROLES"),
        [
            (machine.name, str(machine.address), " ".join(sorted(machine.roles)))
            for machine in cluster.machines
        ],
    )
    print(
        f"\n{cluster.name} is ready after {seconds:.0f} s, with {changes} changes. The API is at "
        f"https://{cluster.api}\n\n"
        f"  export KUBECONFIG={config.absolute()}\n\n"
        "  kubectl get nodes -o wide\n"
        "  kubectl create deployment web --image=busybox:1.36 --replicas=4 -- httpd -f -p 8080 -h /etc\n"
        "  kubectl expose deployment web --port=80 --target-port=8080 --type=NodePort"
    )
