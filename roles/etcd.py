"""A member of the etcd cluster, as a systemd service.

Needs system, pki. Leaves etcd answering on :2379 with TLS both ways, and every member healthy.

Members are started all at once, since a first one is ready only when others are, and restarted one at a time, each
healthy before the next. Two guards keep a machine that lost its disk from starting a second, empty cluster:

- A member notes that it has been one, outside of its data. With the note and without data it refuses to start.
- ``initial-cluster-state`` is "new" only until the members were healthy together once; the operator's state directory
  remembers that. From then on a machine without data asks the others, who know that it was a member and refuse it.

A machine that the state directory does not remember joins the members that it does, one machine at a time.

Compaction is the API server's business. Certificates are read again at each handshake; whom it
trusts only at its start.
"""

from collections.abc import Generator, Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, deploy, operation

from kybern.machines.etcdctl import DATA
from kybern.machines.state import write
from kybern.machines.topology import Cluster, Machine
from roles.cluster import ETCD_CLIENT_PORT, ETCD_METRICS_PORT, ETCD_PEER_PORT, ETCD_USER, PKI, state
from roles.membership import etcdctl, expel, join, peer
from roles.operations import bundle, ready, units
from roles.pki import reads
from roles.record import digest, for_all, planned
from roles.templates import render
from roles.tree import Directory, File, Service

UNIT = "etcd.service"
WAS_MEMBER = "/var/lib/kybern/etcd-was-member"
WAS_ONE = File(WAS_MEMBER, b"")
BOOTSTRAP = "/etc/kybern/etcd.env"
# Of this member, and through it of a quorum; and of every member. One that has used up its space is well enough to be
# restarted with more of it.
HEALTHY = f"curl -fsS --max-time 3 http://127.0.0.1:{ETCD_METRICS_PORT}/health?exclude=NOSPACE"
ALL_HEALTHY = (
    f"({etcdctl()} endpoint health --cluster || "
    f"({etcdctl()} alarm list | grep -q NOSPACE && {etcdctl()} endpoint status --cluster))"
)


@deploy("etcd")
def etcd(cluster: Cluster, machine: Machine) -> None:
    service, note = member(cluster, machine), state(cluster) / "etcd-bootstrapped"
    known = remembered(note)
    data = Directory(DATA, mode="700", user=ETCD_USER)
    joins = bool(known) and machine.name not in known
    first = [] if joins else [bootstrap(cluster, new=not known)]
    bundle(
        name="Files",
        files=[data, *first, *service.files, *([WAS_ONE] if machine.name in known else [])],
    )
    if joins:
        members = [each for each in cluster.members if each.name in known]
        join(
            name="Joined",
            cluster=cluster,
            machine=machine,
            known=members,
            unit=UNIT,
            data=DATA,
            bootstrap=BOOTSTRAP,
            _serial=True,
        )
    units(name="Started", services=[service], restart=False)
    ready(name="Healthy", probe=HEALTHY, log=UNIT, _retries=3, _retry_delay=0)
    units(
        name="Changed members restarted, one at a time",
        services=[service],
        guard=ALL_HEALTHY,
        gate=HEALTHY,
        _serial=True,
    )
    bundle(name="No second bootstrap", files=[bootstrap(cluster, new=False), WAS_ONE])
    here = partaking(cluster)
    if machine.name in here[:1]:
        remember(name="Members remembered", note=note, members=here)


@deploy("etcd")
def forgotten(cluster: Cluster, leaving: str) -> None:
    """The member of this machine does not know another one any more. The first that is asked sees to it for all."""
    address = next((str(each.address) for each in cluster.machines if each.name == leaving), "")
    expel(name=f"{leaving} forgotten", leaving=leaving, address=address, _serial=True)


def member(cluster: Cluster, machine: Machine) -> Service:
    unit = render(
        "etcd/etcd.service",
        cluster=cluster,
        machine=machine,
        user=ETCD_USER,
        data=DATA,
        pki=f"{PKI}/etcd",
        bootstrap=BOOTSTRAP,
        was_member=WAS_MEMBER,
        client_port=ETCD_CLIENT_PORT,
        peer_port=ETCD_PEER_PORT,
        metrics_port=ETCD_METRICS_PORT,
    )
    # The members find each other after a start, which may take as long as the slowest of them.
    return Service(
        UNIT,
        (File(f"/etc/systemd/system/{UNIT}", unit, mode="600"),),
        wait=False,
        reads=reads(cluster, machine, f"{PKI}/etcd/ca.crt"),
    )


def bootstrap(cluster: Cluster, new: bool) -> File:
    """Read only by a member without data, so that a change of it is no reason to restart."""
    first = ",".join(f"{each.name}={peer(each)}" for each in cluster.members)
    cluster_line = f"ETCD_INITIAL_CLUSTER={first}\n" if new else ""
    return File(
        BOOTSTRAP, f"ETCD_INITIAL_CLUSTER_STATE={'new' if new else 'existing'}\n{cluster_line}".encode()
    )


def remembered(note: Path) -> frozenset[str]:
    """The members that were healthy together; none before the first time."""
    return frozenset(note.read_text().split()) if note.exists() else frozenset()


def partaking(cluster: Cluster) -> tuple[str, ...]:
    """The members on whose machines this run works: one that was left out has not been seen healthy."""
    working = {each.name for each in host.state.active_hosts}
    return tuple(each.name for each in cluster.members if each.name in working)


@operation()
def remember(note: Path, members: Sequence[str]) -> Generator[FunctionCommand | StringCommand]:
    if not remembered(note) >= set(members):
        names = sorted(remembered(note) | set(members))
        yield from planned(for_all("operator", str(note), "replace", digest(names)))
        yield FunctionCommand(write, (note, "\n".join([*names, ""]).encode()), {})
