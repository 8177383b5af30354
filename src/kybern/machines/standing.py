"""How a cluster stands: from what its machines and its API say, a line for each machine, and what is wrong. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kybern.api.core_v1 import Node
from kybern.api.taints import UNINITIALIZED
from kybern.machines import node_names
from kybern.machines.clouds import LOCAL
from kybern.machines.control_plane import DAEMONS, runs
from kybern.machines.etcd_seen import ENOUGH, FREE
from kybern.machines.etcdctl import DATA, etcdctl
from kybern.machines.expiry import Kept
from kybern.machines.topology import Cluster, Machine

SOON = 30  # days before the end of a certificate that are told
LEADERS = ("kube-controller-manager", "kube-scheduler")
CLOUD, CLOUD_VOLUMES = "cloud-controller-manager", "kybern-cloud-volumes"
NEARLY = 0.8  # of etcd's quota


@dataclass(frozen=True, slots=True)
class Told:
    """What one machine says. ``failed`` are units and static pods of ours that do not run.

    ``etcd`` is the member's status, if it answers.

    ``free`` are MiB of the disk of etcd.

    ``left`` is of how many pods a cache of names that the topology does not ask for is kept; None where there is none.
    """

    answers: bool = False
    failed: tuple[str, ...] = ()
    ready: bool = False
    etcd: Mapping[str, Any] = field(default_factory=dict)
    has_vip: bool = False
    free: int | None = None
    left: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was found out. ``nodes`` is None when no API server answers."""

    machines: Mapping[str, Told]
    nodes: Sequence[Node] | None
    leaders: Mapping[str, str]
    certificates: Sequence[Kept]


@dataclass(frozen=True, slots=True)
class Line:
    """A machine, column by column; a dash is what it does not have."""

    name: str
    address: str
    roles: str
    ssh: str
    api: str
    etcd: str
    node: str
    version: str
    wrong: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.name, self.address, self.roles, self.ssh, self.api, self.etcd, self.node, self.version)


ETCDCTL = etcdctl(seconds=3)
ETCD_MEMBERS = f"{ETCDCTL} member list -w json 2>/dev/null; true"

HEADS = ("MACHINE", "ADDRESS", "ROLES", "SSH", "API", "ETCD", "NODE", "VERSION")


@dataclass(frozen=True, slots=True)
class Standing:
    """``verdict`` is whole, degraded (it serves, and something is wrong) or down (no quorum, or no API)."""

    verdict: str
    lines: tuple[Line, ...]
    wrong: tuple[str, ...]
    notes: tuple[str, ...]


def told(text: str) -> Told:
    """What the question's answer says; see ``question``."""
    facts: dict[str, str] = dict(
        line.removeprefix("KYBERN ").split(" ", 1)
        for line in text.splitlines()
        if line.startswith("KYBERN ") and " " in line[7:]
    )
    status = json.loads(facts.get("etcd") or "[]")
    return Told(
        answers=True,
        failed=tuple(facts.get("failed", "").split()),
        ready=facts.get("ready", "") == "ok",
        etcd=status[0]["Status"] if status else {},
        has_vip=facts.get("vip", "") == "yes",
        free=int(facts["free"]) if facts.get("free") else None,
        left=int(facts["names"]) if "names" in facts else None,
    )


def units(cluster: Cluster, machine: Machine) -> tuple[str, ...]:
    """Our units that have to run on a machine. Daemons that are static pods there have none."""
    wanted = ["kybern-firewall"]
    if machine.is_etcd:
        wanted.append("etcd")
    if machine.is_master:
        wanted += [] if cluster.has_static_pods else DAEMONS
        wanted += ["kybern-dns", "kybern-metrics"]
        wanted += ["keepalived"] if cluster.vip else []
        wanted += ["cloud-controller-manager"] if cluster.cloud else []
        wanted += ["kybern-libvirt"] if cluster.cloud == LOCAL else []
        wanted += ["kybern-cloud-volumes"] if cluster.cloud_volumes else []
        wanted += ["kybern-libvirt-volumes"] if cluster.cloud_volumes and cluster.cloud == LOCAL else []
    if machine.is_node:
        wanted += ["containerd", "kubelet", "kube-proxy"]
        wanted += ["kybern-pod-network"] if cluster.pod_network == "kybern" else []
        wanted += ["kybern-node-dns"] if cluster.node_local_dns else []
        wanted += ["kybern-policies"] if cluster.network_policies else []
        wanted += ["kybern-cloud-volumes-node"] if cluster.cloud_volumes else []
        wanted += ["haproxy"] if len(cluster.masters) > 1 else []
    return tuple(f"{name}.service" for name in wanted)


def pods(cluster: Cluster, machine: Machine) -> tuple[str, ...]:
    """Our daemons that have to run on a machine as static pods."""
    return DAEMONS if cluster.has_static_pods and machine.is_master else ()


def question(cluster: Cluster, machine: Machine) -> str:
    """One command, whose answer ``told`` reads. It changes nothing."""
    names = " ".join(units(cluster, machine))
    failing = f"for unit in {names}; do systemctl is-active -q $unit || echo $unit; done"
    failing = "; ".join([failing, *(f"{runs(name)} || echo {name}" for name in pods(cluster, machine))])
    lines = [f'echo "KYBERN failed" $({failing})']
    if machine.is_master:
        ask = "curl -fsS --max-time 3 --cacert /etc/kubernetes/pki/ca.crt"
        lines.append(f'echo "KYBERN ready $({ask} https://127.0.0.1:{cluster.api_port}/readyz 2>/dev/null)"')
        lines.append(f'ip -o address show to {cluster.api_address} | grep -q . && echo "KYBERN vip yes"')
    if machine.is_etcd:
        lines.append(f'echo "KYBERN free $({FREE})"')
        lines.append(f'echo "KYBERN etcd $({ETCDCTL} endpoint status -w json 2>/dev/null)"')
    if machine.is_node and not cluster.node_local_dns:
        lines.append(node_names.question())
    return "; ".join([*lines, "true"])


def leaders(cluster: Cluster) -> tuple[str, ...]:
    """The leases that somebody has to hold."""
    cloud = (CLOUD,) if cluster.cloud else ()
    volumes = (CLOUD_VOLUMES,) if cluster.cloud_volumes else ()
    return (*LEADERS, *cloud, *volumes)


def standing(cluster: Cluster, seen: Seen, now: datetime) -> Standing:
    """The lines and the verdict."""
    nodes = {node.metadata.name: node for node in seen.nodes or ()}
    lines = tuple(_line(machine, seen, nodes) for machine in cluster.machines)
    wrong = [f"{line.name}: {each}" for line in lines for each in line.wrong]
    wrong += [
        f"nobody leads {name}"
        for name in leaders(cluster)
        if seen.nodes is not None and not seen.leaders.get(name)
    ]
    wrong += _certificates(seen.certificates, now)
    wrong += _space(cluster, seen)
    known = {machine.name for machine in cluster.machines}
    wrong += [f"node {name} is not in the topology" for name in sorted(nodes) if name not in known]
    voters = [machine for machine in cluster.members if _votes(seen.machines.get(machine.name))]
    quorum = len(voters) > len(cluster.members) // 2
    if not quorum:
        wrong.insert(
            0,
            f"etcd has no quorum: {len(voters)} of {len(cluster.members)} members answer; see kybern recover {cluster.name}",
        )
    if seen.nodes is None:
        wrong.insert(0, f"the API does not answer at {cluster.api}")
    verdict = "down" if seen.nodes is None or not quorum else "degraded" if wrong else "whole"
    return Standing(verdict, lines, tuple(wrong), _notes(cluster, seen, now))


def _line(machine: Machine, seen: Seen, nodes: Mapping[str, Node]) -> Line:
    found = seen.machines.get(machine.name, Told())
    node = nodes.get(machine.name)
    wrong: list[str] = []
    if not found.answers:
        wrong.append("does not answer by SSH")
    elif found.failed:
        wrong.append(f"not running: {', '.join(each.removesuffix('.service') for each in found.failed)}")
    if machine.is_master and found.answers and not found.ready:
        wrong.append("its API server is not ready")
    if machine.is_etcd and found.answers and not _votes(found):
        wrong.append("its member of etcd does not take part")
    if found.free is not None and found.free < ENOUGH:
        wrong.append(f"the disk of etcd is full ({found.free} MiB free): make space below {DATA}")
    state = _node(node) if machine.is_node else "-"
    if machine.is_node and seen.nodes is not None and state != "Ready":
        wrong.append("it is no node" if node is None else f"its node is {state}")
    unknown = "?" if not found.answers else ""
    return Line(
        name=machine.name,
        address=str(machine.address),
        roles=" ".join(sorted(machine.roles)),
        ssh="yes" if found.answers else "no",
        api=(unknown or ("ready" if found.ready else "not ready")) if machine.is_master else "-",
        etcd=(unknown or _etcd(found)) if machine.is_etcd else "-",
        node="?" if machine.is_node and seen.nodes is None else state,
        version=node.status.node_info.kubelet_version if node and node.status.node_info else "-",
        wrong=tuple(wrong),
    )


def _node(node: Node | None) -> str:
    if node is None:
        return "missing"
    ready = any((one.type, one.status) == ("Ready", "True") for one in node.status.conditions)
    words = ["Ready" if ready else "NotReady"]
    words += ["SchedulingDisabled"] if node.spec.unschedulable else []
    # Its cloud does not know it: no pod goes there.
    words += ["Uninitialized"] if any(taint.key == UNINITIALIZED for taint in node.spec.taints) else []
    return ",".join(words)


def _votes(found: Told | None) -> bool:
    return bool(found and found.etcd.get("leader")) and not (found and found.etcd.get("isLearner"))


def _etcd(found: Told) -> str:
    if not found.etcd:
        return "down"
    if not found.etcd.get("leader"):
        return "no leader"
    if found.etcd.get("isLearner"):
        return "learner"
    return "leader" if found.etcd["leader"] == found.etcd["header"]["member_id"] else "member"


def _certificates(kept: Sequence[Kept], now: datetime) -> list[str]:
    ended = [one for one in kept if one.until <= now]
    soon = [one for one in kept if one.until > now and one.days(now) < SOON and one.is_worn]
    found = [f"expired: the certificate {one.name} of {one.machine or 'the operator'}" for one in ended[:3]]
    if soon:
        found.append(f"{len(soon)} certificates expire within {SOON} days: kybern certificates renew")
    return found


def _space(cluster: Cluster, seen: Seen) -> list[str]:
    """What etcd says of its alarms, and how near it is to its quota, where it takes no more writes."""
    told = [found.etcd for found in seen.machines.values() if found.etcd]
    alarms = sorted(
        {str(each).strip().rpartition("alarm:")[2] for found in told for each in found.get("errors") or ()}
    )
    used = max((int(found.get("dbSize") or 0) for found in told), default=0)
    share = used / (cluster.etcd_quota * 2**20)
    remedy = f"kybern defragment {cluster.name}, or a larger etcd_quota in the topology and a deploy"
    wrong = [f"etcd has raised the alarm {each}: {remedy}" for each in alarms]
    if share >= NEARLY and not alarms:
        wrong.append(f"etcd's file takes {share:.0%} of its quota of {cluster.etcd_quota} MiB: {remedy}")
    return wrong


def _notes(cluster: Cluster, seen: Seen, now: datetime) -> tuple[str, ...]:
    holders = [name for name, found in seen.machines.items() if found.has_vip]
    sizes = [int(found.etcd["dbSize"]) for found in seen.machines.values() if found.etcd.get("dbSize")]
    notes = [
        f"{name} is led by {seen.leaders[name].partition('_')[0]}"
        for name in leaders(cluster)
        if seen.leaders.get(name)
    ]
    if cluster.vip:
        notes.append(f"{cluster.vip} is held by {' and '.join(holders) or 'nobody'}")
    if sizes:
        notes.append(f"etcd holds {max(sizes) / 1e6:.1f} MB")
    if seen.certificates:
        first = seen.certificates[0]
        notes.append(
            f"the next certificate to expire is {first.name} of {first.machine or 'the operator'}: {first.days(now)} days"
        )
    notes += [
        node_names.note(name, found.left) for name, found in seen.machines.items() if found.left is not None
    ]
    return tuple(notes)
