"""The ports that a machine's daemons will listen on, and who listens there now. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kybern.machines.topology import Cluster, Machine

ANY = ("0.0.0.0", "*", "[::]", "::")
USERS = re.compile(r"pid=(\d+)")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Port:
    """``address`` is empty for all of the machine's."""

    protocol: str
    number: int
    user: str
    address: str = ""

    def meets(self, other: "Listener") -> bool:
        same = not self.address or other.address in ANY or other.address == self.address
        return (self.protocol, self.number) == (other.protocol, other.number) and same


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody at a port: the process's name, and the systemd unit that it belongs to."""

    protocol: str
    address: str
    number: int
    process: str = ""
    unit: str = ""


def wanted(cluster: Cluster, machine: Machine) -> Iterator[Port]:
    """What a deploy needs free, as the roles have it."""
    if machine.is_etcd:
        yield Port("tcp", 2379, "etcd")
        yield Port("tcp", 2380, "etcd", machine.host)
        yield Port("tcp", 2381, "etcd", LOOPBACK)
    if machine.is_master:
        yield from _of_master(cluster, machine.host)
    else:
        yield Port("tcp", cluster.api_port, "haproxy", LOOPBACK)
    if machine.is_node:
        yield from _of_node(cluster, machine.host)
    if cluster.ingress and machine in cluster.workers:
        yield Port("tcp", 80, "kybern-ingress")
        yield Port("tcp", 443, "kybern-ingress")
        yield Port("tcp", 10254, "kybern-ingress")
        yield Port("tcp", 10266, "kybern-ingress", LOOPBACK)


def _of_master(cluster: Cluster, own: str) -> Iterator[Port]:
    yield Port("tcp", cluster.api_port, "kube-apiserver")
    yield Port("tcp", 10257, "kube-controller-manager")
    yield Port("tcp", 10259, "kube-scheduler")
    yield Port("udp", 53, "kybern-dns", own)
    yield Port("tcp", 53, "kybern-dns", own)
    yield Port("tcp", 9153, "kybern-dns", own)
    yield Port("tcp", 10251, "kybern-metrics", own)
    if cluster.cloud:
        yield Port("tcp", 10258, "cloud-controller-manager")
    if cluster.cloud_volumes:
        yield Port("tcp", 10267, "kybern-cloud-volumes", LOOPBACK)
    if cluster.load_balancer:
        yield Port("tcp", 10264, "kybern-load-balancers", LOOPBACK)
    if len(cluster.masters) > 1:
        yield Port("tcp", 8443, "haproxy")
        yield Port("tcp", 8404, "haproxy", LOOPBACK)


def _of_node(cluster: Cluster, own: str) -> Iterator[Port]:
    yield Port("tcp", 10250, "kubelet")
    yield Port("tcp", 10248, "kubelet", LOOPBACK)
    yield Port("tcp", 10249, "kube-proxy", LOOPBACK)
    yield Port("tcp", 10256, "kube-proxy")
    if cluster.pod_network == "kybern":
        yield Port("tcp", 10262, "kybern-pod-network", LOOPBACK)
    if cluster.network_policies:
        yield Port("tcp", 10263, "kybern-policies", LOOPBACK)
    if cluster.node_local_dns:
        yield Port("tcp", 9253, "kybern-node-dns", own)
    if cluster.load_balancer:
        yield Port("udp", 10261, "kybern-speaker")
        yield Port("tcp", 10265, "kybern-speaker", LOOPBACK)


def listeners(sockets: Iterable[str], processes: Iterable[str]) -> Iterator[Listener]:
    """From lines of ``ss -Hlntup``, and of "PID UNIT NAME" for each process that listens ("-" without a unit)."""
    known = {line.split()[0]: line.split() for line in processes if len(line.split()) >= 3}
    for line in sockets:
        words = line.split()
        if len(words) < 5 or words[0] not in ("tcp", "udp"):
            continue
        address, _, number = words[4].rpartition(":")
        if not number.isdigit():
            continue
        found = USERS.search(line)
        _, unit, name = (known.get(found[1]) if found else None) or ("", "", "")
        plain = address.partition("%")[0]
        yield Listener(words[0], plain, int(number), name, "" if unit == "-" else unit)
