"""etcd as a snapshot has it: on every member that is left the same, as a new cluster of these members.

Needs system, firewall, pki, on blank machines too. Leaves members with the snapshot's data, and API servers, started where
their units are there already; deploys/cluster.py does the rest. What a member had before is moved aside, to before-STAMP in
etcd's directory.

Revisions go up by a thousand million and the old ones count as compacted, so that whoever watches is told to list again: a
revision that two histories share would let caches keep what never was (etcd's --bump-revision and --mark-compacted).
Never force-new-cluster on a member's own data: members come back with data of two histories.
"""

import secrets
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FileUploadCommand, StringCommand, deploy, operation

from kybern.machines.control_plane import aside, manifest, runs, stopping
from kybern.machines.etcdctl import DATA
from kybern.machines.etcdctl import RESTORED as MARKER
from kybern.machines.restoring import Restoring
from kybern.machines.topology import Cluster, Machine
from roles import facts
from roles.cluster import ETCD_USER
from roles.etcd import UNIT
from roles.membership import peer
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, bundle, once
from roles.templates import render
from roles.tree import Directory

NAME, API_SERVER = "kube-apiserver", "kube-apiserver.service"
ARRIVED = f"{DATA}/.snapshot"
BUMP = 1_000_000_000
UPLOAD_SECONDS = 600

type Commands = Generator[StringCommand | FileUploadCommand]


@deploy("restore")
def writes_stopped(machine: Machine) -> None:
    if machine.is_master:
        once(
            name="API server stopped",
            # Whichever way it runs: the topology may ask for another one than is there.
            probe=f"! systemctl is-active -q {API_SERVER} && [ ! -e {manifest(NAME)} ] && ! {runs(NAME)}",
            command=f"{{ {{ [ ! -e {manifest(NAME)} ] && [ ! -e {aside(NAME)} ]; }} || {stopping(NAME)}; }} && "
            f"{{ systemctl stop {API_SERVER} 2>/dev/null; ! systemctl is-active -q {API_SERVER}; }}",
        )


@deploy("restore")
def restored(cluster: Cluster, machine: Machine, run: Restoring) -> None:
    bundle(name="Directory", files=[Directory(DATA, mode="700", user=ETCD_USER)])
    replace_data(name="Data replaced", cluster=cluster, machine=machine, run=run)


@deploy("restore")
def member_started() -> None:
    """Once all have their data: it waits for the others."""
    start(name="etcd started", unit=UNIT)


@deploy("restore")
def writes_go_on(machine: Machine) -> None:
    if machine.is_master:
        once(
            name="API server's pod given back",
            probe=f"[ ! -e {aside(NAME)} ]",
            command=f"mv -fT {aside(NAME)} {manifest(NAME)}",
        )
        start(name="API server started", unit=API_SERVER)


@operation()
def start(unit: str) -> Commands:
    """Where its unit is there: what a blank machine lacks comes with the deploy."""
    file = f"/etc/systemd/system/{unit}"
    if host.get_fact(
        facts.Succeeds, f"[ ! -e {file} ] || systemctl is-active -q {unit}", _timeout=FACT_SECONDS
    ):
        host.noop("it runs, or comes with the deploy")
        return
    yield StringCommand(
        f"systemctl reset-failed {unit} 2>/dev/null; systemctl start --no-block {unit}", _timeout=FACT_SECONDS
    )


@operation()
def replace_data(cluster: Cluster, machine: Machine, run: Restoring) -> Commands:
    if host.get_fact(
        facts.Succeeds, f'[ -d {DATA}/member ] && [ "$(cat {MARKER})" = {run.stamp} ]', _timeout=FACT_SECONDS
    ):
        host.noop(f"its data are of {run.snapshot.name}")
        return
    passage = f"/var/tmp/kybern-{secrets.token_hex(8)}"  # noqa: S108  # made anew with mode 700, or the command fails
    yield StringCommand(f"mkdir -m 700 {passage}", _sudo=False, _timeout=FACT_SECONDS)
    yield FileUploadCommand(str(run.snapshot.path), f"{passage}/snapshot", _sudo=False)
    yield StringCommand(
        f"(umask 077; cp {passage}/snapshot {ARRIVED}); rm -rf {passage}", _timeout=UPLOAD_SECONDS
    )
    script = render(
        "etcd/restore.sh",
        name=machine.name,
        data=DATA,
        snapshot=ARRIVED,
        digest=run.snapshot.digest,
        initial=",".join(f"{each.name}={peer(each)}" for each in cluster.members if run.is_for(each)),
        token=f"{cluster.name}-{run.stamp}",
        peer=peer(machine),
        bump=BUMP,
        user=ETCD_USER,
        before=f"{DATA}/before-{run.stamp}",
        marker=MARKER,
        stamp=run.stamp,
    )
    yield StringCommand(script.decode(), _timeout=COMMAND_SECONDS)
