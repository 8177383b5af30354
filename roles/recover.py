"""Single steps of ``kybern recover``, which decides which of them, and when: see kybern.machines.recovering.

Each leaves nothing to do when it is run again. None of them removes data: what a member had is moved to before-STAMP in
etcd's directory. The data of a member without a quorum are copied before an etcd of one member is made of them
(--force-new-cluster, see ADR 0030), and a snapshot of that.
"""

import shlex
from pathlib import Path

from pyinfra.api import deploy

from kybern.machines.etcdctl import DATA
from kybern.machines.etcdctl import SNAPSHOTS as FOLDER
from kybern.machines.topology import Cluster, Machine
from roles.etcd import UNIT, WAS_MEMBER
from roles.operations import bundle, once
from roles.snapshots import SCRIPT, files, take
from roles.templates import render
from roles.tree import Directory

START_SECONDS = 60
MIB = 2**20


@deploy("recover")
def started() -> None:
    """It may wait for others, so that nobody waits for it here."""
    once(
        name="etcd started",
        probe=f"systemctl is-active -q {UNIT}",
        command=f"systemctl reset-failed {UNIT} 2>/dev/null; systemctl start --no-block {UNIT}",
    )


@deploy("recover")
def data_set_aside() -> None:
    once(
        name="Data set aside",
        probe=f"[ ! -e {DATA}/member ] && [ ! -e {WAS_MEMBER} ]",
        command=render("etcd/aside.sh", data=DATA, was_member=WAS_MEMBER).decode(),
    )


@deploy("recover")
def salvaged(cluster: Cluster, machine: Machine, folder: Path) -> None:
    """A snapshot of what this member has, brought to ``folder`` of the operator's side. Leaves its etcd stopped."""
    bundle(name="Files", files=[Directory(FOLDER, mode="700"), *files()])
    script = render(
        "etcd/salvage.sh",
        name=machine.name,
        data=DATA,
        folder=FOLDER,
        script=SCRIPT,
        quota=cluster.etcd_quota * 2 * MIB,
        seconds=START_SECONDS,
    )
    take(name="Snapshot made of its data", folder=folder, printing=f"sh -c {shlex.quote(script.decode())}")
