"""What a machine says of its member of etcd: one question, answered also by a member that has no quorum. Pure.

Such a member, started anew, answers no client. Its peers' port lists the members, and its metrics tell whether it knows a
leader and how far its data go: both need no quorum (``/members`` of etcd's rafthttp, ``--listen-metrics-urls``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kybern.machines.etcdctl import DATA, METRICS_PORT, PEER_PORT, PKI, RESTORED, SNAPSHOTS
from kybern.machines.topology import Cluster, Machine

LEADER = "etcd_server_has_leader"
REVISION = "etcd_debugging_mvcc_current_revision"
ENOUGH = 128  # MiB: etcd takes 64 at a time for its log
FREE = f"df --output=avail -BM {DATA} 2>/dev/null | tail -n 1 | tr -dc 0-9"


@dataclass(frozen=True, slots=True)
class Known:
    """A member as another one knows it: by its machine's name, or its own where the machine is none of ours."""

    name: str
    started: bool = True
    learner: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What one machine says. ``revision`` is None when etcd does not run, ``free`` MiB of its disk, None when not known.

    ``cluster`` is the identity of the cluster that it is of: data of before a recovery are another one's. ``reaches`` are
    the other members whose etcd answers it; ``snapshot`` is the newest one that it keeps, ``restored`` the stamp of the
    restore that its data are of.
    """

    answers: bool = False
    running: bool = False
    data: bool = False
    leader: bool = False
    revision: int | None = None
    members: tuple[Known, ...] = ()
    cluster: str = ""
    reaches: frozenset[str] = frozenset()
    snapshot: str = ""
    restored: str = ""
    free: int | None = None

    @property
    def is_full(self) -> bool:
        return self.free is not None and self.free < ENOUGH

    def is_idle(self, *, of_late: bool = False) -> bool:
        """Whether nothing is to be waited for: it has no data, or does not run; ``of_late`` it was started and may yet."""
        return not self.data or (not self.running and self.revision is None and not of_late)


def question(cluster: Cluster, machine: Machine) -> str:
    """One script, whose answer ``seen`` reads. It changes nothing."""
    # The peers' port agrees to HTTP/2 and does not speak it.
    ask = f"curl -fsS --http1.1 --max-time 2 --cacert {PKI}/ca.crt --cert {PKI}/peer.crt --key {PKI}/peer.key"
    own = f"https://{machine.host}:{PEER_PORT}/members"
    numbers = f"curl -fsS --max-time 3 http://127.0.0.1:{METRICS_PORT}/metrics 2>/dev/null"
    identity = """awk 'tolower($1) == "x-etcd-cluster-id:" {print "KYBERN cluster", $2}'"""
    lines = [
        'echo "KYBERN answers yes"',
        'systemctl is-active -q etcd.service && echo "KYBERN running yes"',
        f'[ -d {DATA}/member/wal ] && echo "KYBERN data yes"',
        f'echo "KYBERN free $({FREE})"',
        f'{numbers} | awk \'$1 == "{LEADER}" || $1 == "{REVISION}" {{print "KYBERN", $1, $2}}\'',
        f'echo "KYBERN members $({ask} {own} 2>/dev/null)"',
        f"{ask} -D - -o /dev/null {own} 2>/dev/null | tr -d '\\r' | {identity}",
        *(
            f'{ask} -o /dev/null https://{each.host}:{PEER_PORT}/version 2>/dev/null && echo "KYBERN reaches {each.name}"'
            for each in cluster.members
            if each != machine
        ),
        # Their names are times; one without a checksum is not finished.
        f"last=$(find {SNAPSHOTS} -maxdepth 1 -name '*.sha256' 2>/dev/null | sort | tail -n 1); last=${{last##*/}}",
        'echo "KYBERN snapshot ${last%.sha256}"',
        f'echo "KYBERN restored $(cat {RESTORED} 2>/dev/null)"',
    ]
    return "\n".join([*lines, "true"])


def seen(cluster: Cluster, text: str) -> Seen:
    """What an answer says; an empty one is of a machine that does not answer."""
    rows = [line.split(" ", 2)[1:] for line in text.splitlines() if line.startswith("KYBERN ")]
    pairs = [(row[0], row[1].strip()) for row in rows if len(row) == 2]
    told = {key: value for key, value in pairs if value}
    return Seen(
        answers="answers" in told,
        running="running" in told,
        data="data" in told,
        leader=told.get(LEADER) == "1",
        revision=_whole(told, REVISION),
        members=known(cluster, told.get("members", "")),
        cluster=told.get("cluster", ""),
        reaches=frozenset(value for key, value in pairs if key == "reaches"),
        snapshot=told.get("snapshot", ""),
        restored=told.get("restored", ""),
        free=_whole(told, "free"),
    )


def known(cluster: Cluster, text: str) -> tuple[Known, ...]:
    """The members in an answer of a peers' port."""
    machines = {str(each.address): each.name for each in cluster.members}
    return tuple(
        Known(
            name=_machine(machines, each.get("peerURLs") or ()) or each.get("name") or each["peerURLs"][0],
            started=bool(each.get("name")),
            learner=bool(each.get("isLearner")),
        )
        for each in json.loads(text or "[]")
    )


def _machine(machines: Mapping[str, str], urls: tuple[str, ...]) -> str:
    return next((machines[host] for url in urls if (host := urlsplit(url).hostname or "") in machines), "")


def _whole(told: Mapping[str, str], key: str) -> int | None:
    # Metrics are floating-point numbers: 1.000000123e+09 is a revision.
    return int(float(told[key])) if key in told else None
