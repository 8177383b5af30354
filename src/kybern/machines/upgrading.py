"""An upgrade of a whole cluster: what machines say, the order of the steps, and what has to hold between them. Pure.

Nothing is remembered from one run to the next. What is left to do is what a deploy would change, and the nodes that an
upgrade has cordoned say so themselves, by an annotation.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kybern.api.coordination_v1 import Lease
from kybern.api.core_v1 import Node
from kybern.machines.control_plane import DAEMONS, attempts, manifest, pid
from kybern.machines.skew import API, OLDER, Running, Version
from kybern.machines.standing import Told, pods, question, told
from kybern.machines.topology import Cluster, Machine

CORDONED = "kybern.io/cordoned-by"
"""On a node that an upgrade has cordoned, with the value UPGRADE: it is this one's to uncordon, and nobody else's is."""
UPGRADE = "upgrade"
# Entries of etcd's log that a member may be behind another one: they are not asked at the same moment.
IN_STEP = 1000
TAKES_NO_PODS = frozenset({"NoSchedule", "NoExecute"})
RELEASES = "/opt/kybern"
NOTHING: Mapping[str, str] = {}
SILENT = Told()


@dataclass(frozen=True, slots=True)
class Found:
    """What a machine says beside ``Told``: the release in use, those that its units name, the one that it could go back to.

    ``running`` are versions by daemon, ``restarts`` how often systemd has restarted our units by itself, ``kubelet`` since
    when it runs (seconds since 1970 by the machine's own clock), ``offered`` the version of etcd that apt would install.
    """

    told: Told = SILENT
    release: str = ""
    named: str = ""
    before: str = ""
    running: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0
    kubelet: float = 0.0
    offered: str = ""

    @property
    def is_between(self) -> bool:
        """Its units are not all of the release in use: a run was interrupted there."""
        return self.named != self.release


@dataclass(frozen=True, slots=True)
class Looked:
    """All that was found out at one moment. ``nodes`` is None when the API does not answer at its address."""

    machines: Mapping[str, Found]
    nodes: Mapping[str, Node] | None
    leases: Mapping[str, Lease]

    def of(self, name: str) -> Found:
        return self.machines.get(name, Found())

    def node(self, name: str) -> Node | None:
        return (self.nodes or {}).get(name)


@dataclass(frozen=True, slots=True)
class Step:
    """What is done at once. ``verb`` is the deploy that is run on the machines: apiservers or cluster."""

    verb: str
    machines: tuple[Machine, ...]

    @property
    def names(self) -> str:
        return ", ".join(machine.name for machine in self.machines)


def asking(cluster: Cluster, machine: Machine, *, packages: bool = False) -> str:
    """One command, whose answer ``found`` reads. It changes nothing on the machine but apt's lists, with ``packages``."""
    lines = [
        question(cluster, machine),
        f'echo "KYBERN release $(basename "$(readlink {RELEASES}/current)")"',
    ]
    files = " ".join(("/etc/systemd/system/*.service", *map(manifest, DAEMONS)))
    newest = f"ls -t {RELEASES}/before-*.tar 2>/dev/null | head -n 1"
    lines.append(f'echo "KYBERN before $({newest} | sed "s,.*/before-,package-,;s,.tar$,,")"')
    lines.append(
        f'echo "KYBERN named $(grep -oshE "{RELEASES}/package-[0-9a-z]+" {files} | sort -u '
        '| sed "s,.*/,," | paste -sd,)"'
    )
    lines.append(_versions(cluster, machine))
    # Of a pod, the kubelet counts as systemd does of a unit.
    counts = "".join(f"; {attempts(name)}" for name in pods(cluster, machine))
    lines.append(
        'echo "KYBERN restarts $({ systemctl show -P NRestarts "kube*" "kybern-*" etcd.service containerd.service'
        f"{counts}; }} | awk '{{n += $1}} END {{print n + 0}}')\""
    )
    lines.append(
        'echo "KYBERN kubelet $(systemctl show -P ExecMainStartTimestamp --timestamp=unix kubelet.service | tr -d @)"'
    )
    if packages and machine.is_etcd:
        policy = "apt-cache policy etcd-server | sed -n 's/^ *Candidate: *//p'"
        lines.append(f'apt-get -qq update >/dev/null 2>&1; echo "KYBERN offered $({policy})"')
    return "; ".join(lines)


def _versions(cluster: Cluster, machine: Machine) -> str:
    """The version of what runs, and not of what is installed: the two differ when a run has been interrupted."""
    program = "program=$(tr '\\0' '\\n' </proc/$pid/cmdline | grep -m 1 \"/$daemon\\$\")"
    ours = (
        'sed -n \'s/^VERSION = "\\(.*\\)"$/\\1/p\' "${program%/bin/*}/kybern/daemon/version.py" 2>/dev/null'
    )
    # Not ours, but upstream's in its place: "Kubernetes v1.36.2".
    other = 'timeout 10 "$program" --version 2>/dev/null | cut -d" " -f2'
    # A machine may be on its way from units to pods.
    in_pods = "".join(f"{name}) pid=$({pid(name)});; " for name in pods(cluster, machine))
    search = f'[ "${{pid:-0}}" != 0 ] || case $daemon in {in_pods}esac; ' if in_pods else ""
    return (
        f"for daemon in {' '.join(OLDER)}; do pid=$(systemctl show -P MainPID $daemon.service); {search}"
        f'[ "${{pid:-0}}" != 0 ] || continue; {program}; '
        f'version=$({ours}); [ -n "$version" ] || version=$({other}); echo "KYBERN version $daemon $version"; done'
    )


def found(text: str) -> Found:
    facts: dict[str, str] = {}
    running: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["KYBERN", "version"] and len(words) == 4:
            running[words[2]] = words[3]
        elif words[:1] == ["KYBERN"] and len(words) == 3:
            facts[words[1]] = words[2]
    return Found(
        told=told(text) if text else SILENT,
        release=facts.get("release", ""),
        named=facts.get("named", ""),
        before=facts.get("before", ""),
        running=running,
        restarts=int(facts.get("restarts", "0")),
        kubelet=float(facts.get("kubelet") or 0),
        offered=facts.get("offered", ""),
    )


def daemons(cluster: Cluster, looked: Looked) -> tuple[Running, ...]:
    """Every daemon that the version skew policy speaks of. A machine that is silent is known by its node."""
    known = [
        Running(machine.name, daemon, version)
        for machine in cluster.machines
        for daemon, version in looked.of(machine.name).running.items()
    ]
    told_by_themselves = {each.machine for each in known if each.daemon == "kubelet"}
    for name, node in sorted((looked.nodes or {}).items()):
        info = node.status.node_info
        if name not in told_by_themselves and info and info.kubelet_version:
            known.append(Running(name, "kubelet", info.kubelet_version))
    return tuple(known)


def members(cluster: Cluster, looked: Looked) -> tuple[tuple[Running, ...], tuple[Running, ...]]:
    """The versions of etcd: those that run, and those that apt offers."""
    found = [(each.name, looked.of(each.name)) for each in cluster.members]
    running = tuple(Running(name, "etcd", str(one.told.etcd.get("version", ""))) for name, one in found)
    return running, tuple(Running(name, "etcd", one.offered) for name, one in found if one.offered)


def left_cordoned(cluster: Cluster, looked: Looked) -> frozenset[str]:
    """Machines whose nodes an upgrade has cordoned, which was interrupted then."""
    nodes = (looked.node(machine.name) for machine in cluster.machines)
    return frozenset(node.metadata.name for node in nodes if node and is_ours(node))


def is_ours(node: Node) -> bool:
    return node.metadata.annotations.get(CORDONED) == UPGRADE


def steps(
    cluster: Cluster, due: Collection[str], batch: int, older: Collection[str] = ()
) -> tuple[Step, ...]:
    """The order: members of etcd and masters one at a time, then workers, ``batch`` at once.

    ``older`` are masters whose API server is of another minor version than the release: all API servers come first then,
    since no control loop and no kubelet may be newer than any of them.
    """
    wanted = [machine for machine in cluster.machines if machine.name in due]
    alone = [each for each in wanted if each.is_etcd and not each.is_master]
    alone += [each for each in wanted if each.is_master]
    rest = [each for each in wanted if not each.is_etcd and not each.is_master]
    first = [Step("apiservers", (each,)) for each in alone if each.name in older]
    batches = [tuple(rest[start : start + batch]) for start in range(0, len(rest), batch)]
    return (
        *first,
        *(Step("cluster", (each,)) for each in alone),
        *(Step("cluster", each) for each in batches),
    )


def hindrances(cluster: Cluster, looked: Looked, without: Iterable[str] = ()) -> tuple[str, ...]:
    """Why nothing more may be taken out of service: what is wrong with the control plane beside the machines ``without``."""
    out = set(without)
    masters = [each for each in cluster.masters if each.name not in out]
    wrong = [] if looked.nodes is not None or not masters else [f"the API does not answer at {api(cluster)}"]
    for machine in masters:
        wrong += _master(machine, looked.of(machine.name).told)
    return (*wrong, *_etcd([each for each in cluster.members if each.name not in out], looked))


def api(cluster: Cluster) -> str:
    return cluster.api


def _master(machine: Machine, told: Told) -> list[str]:
    if not told.answers:
        return [f"{machine.name} does not answer by SSH"]
    return [] if told.ready else [f"the API server of {machine.name} is not ready"]


def _etcd(members: Sequence[Machine], looked: Looked) -> list[str]:
    """All answer, agree on the leader and the term, have no alarm, and none is far behind."""
    said: dict[str, Mapping[str, Any]] = {each.name: looked.of(each.name).told.etcd for each in members}
    wrong = [f"the member of etcd on {name} does not answer" for name, status in said.items() if not status]
    there = {name: status for name, status in said.items() if status}
    wrong += [
        f"the member of etcd on {name} has no vote yet"
        for name, status in there.items()
        if status.get("isLearner")
    ]
    wrong += [
        f"etcd on {name} says: {', '.join(status['errors'])}"
        for name, status in there.items()
        if status.get("errors")
    ]
    if not there or wrong:
        return wrong
    if len({(status.get("leader"), status.get("raftTerm")) for status in there.values()}) > 1 or not all(
        status.get("leader") for status in there.values()
    ):
        wrong.append("the members of etcd do not agree on a leader")
    applied = {name: int(status.get("raftAppliedIndex", 0)) for name, status in there.items()}
    slowest = min(applied, key=lambda name: applied[name])
    if max(applied.values()) - applied[slowest] > IN_STEP:
        wrong.append(f"etcd on {slowest} is {max(applied.values()) - applied[slowest]} entries behind")
    return wrong


def unwell(
    cluster: Cluster, looked: Looked, machines: Iterable[Machine], wanted: Mapping[str, str] = NOTHING
) -> tuple[str, ...]:
    """What keeps these machines from being well; ``wanted`` are the versions that daemons shall have there."""
    wrong: list[str] = []
    for machine in machines:
        one, node = looked.of(machine.name), looked.node(machine.name)
        if not one.told.answers:
            wrong.append(f"{machine.name} does not answer by SSH")
            continue
        if one.told.failed:
            names = ", ".join(unit.removesuffix(".service") for unit in one.told.failed)
            wrong.append(f"not running on {machine.name}: {names}")
        wrong += [
            f"{daemon} of {machine.name} is {version}, not {wanted[daemon]}"
            for daemon, version in one.running.items()
            if version != wanted.get(daemon, version)
        ]
        if machine.is_node and looked.nodes is not None:
            wrong += _node(machine.name, node, looked.leases.get(machine.name), one.kubelet)
    return tuple(wrong)


def _node(name: str, node: Node | None, lease: Lease | None, since: float) -> list[str]:
    if node is None:
        return [f"{name} is no node"]
    if not any((each.type, each.status) == ("Ready", "True") for each in node.status.conditions):
        return [f"the node {name} is not Ready"]
    # Ready is what the kubelet said last, which may have been the one before. Both times are of the machine's own clock.
    renewed = lease.spec.renew_time if lease else None
    if renewed is None or renewed.timestamp() < since:
        return [f"the kubelet of {name} has not been heard of since it was started"]
    return []


def takes_pods_beside(nodes: Mapping[str, Node], leaving: Collection[str]) -> bool:
    """Whether any other node takes pods: without one there is nowhere to drain to."""
    return any(
        not node.spec.unschedulable
        and not any(taint.effect in TAKES_NO_PODS for taint in node.spec.taints)
        and any((each.type, each.status) == ("Ready", "True") for each in node.status.conditions)
        for name, node in nodes.items()
        if name not in leaving
    )


def api_older(cluster: Cluster, looked: Looked, target: str) -> frozenset[str]:
    """Masters whose API server is of an older minor version than ``target``: the rest of the cluster waits for them."""
    wanted = Version.read(target)
    found = {each.name: Version.read(looked.of(each.name).running.get(API, "")) for each in cluster.masters}
    return frozenset(name for name, old in found.items() if wanted and old and old.minor < wanted.minor)


def goes_back(was: Found, now: Found) -> bool:
    """Whether the release before is what the machine ran until this upgrade, and not what it ran until an earlier one."""
    return now.before != "" and (now.before == was.release or was.is_between)
