"""Cluster DNS, asked from every node: through the Service, as a pod would."""

import json

import pytest
from testinfra.host import Host

from kybern.machines.node_names import address_of, is_asked
from kybern.machines.topology import Cluster, Machine
from roles.apiserver import ask
from roles.cluster import name_servers, node_address

# A question and its answer in as few lines as the wire has: the machines have no resolver tools.
QUESTION = """
import socket, struct, sys
name, server, kind = sys.argv[1], sys.argv[2], int(sys.argv[3])
labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
asked = struct.pack("!6H", 7, 256, 1, 0, 0, 0) + labels + bytes([0]) + struct.pack("!2H", kind, 1)
if sys.argv[4] == "udp":
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3); s.connect((server, 53)); s.send(asked); told = s.recv(4096)
else:
    with socket.create_connection((server, 53), 3) as s:
        s.sendall(struct.pack("!H", len(asked)) + asked); told = s.recv(4096)[2:]
count = struct.unpack_from("!H", told, 6)[0]
family, size = (socket.AF_INET6, 16) if kind == 28 else (socket.AF_INET, 4)
print(told[3] & 15, count, socket.inet_ntop(family, told[-size:]) if kind in (1, 28) and count else "")
"""


def resolved(host: Host, name: str, server: object, protocol: str = "udp", kind: int = 1) -> str:
    done = host.run("python3 -c %s %s %s %s %s", QUESTION, name, str(server), str(kind), protocol)
    assert done.rc == 0, done.stderr
    return str(done.stdout).strip()


def kind_of(cluster: Cluster) -> int:
    """Of a record with an address of the family that comes first: A or AAAA."""
    return 1 if cluster.service_ranges[0].version == 4 else 28


@pytest.mark.on("nodes")
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_api_has_a_name_on_every_node(host: Host, cluster: Cluster, protocol: str) -> None:
    name = f"kubernetes.default.svc.{cluster.cluster_domain}"

    told = resolved(host, name, cluster.dns_address, protocol, kind_of(cluster))

    assert told == f"0 1 {cluster.service_ranges[0][1]}"


@pytest.mark.on("nodes")
def test_a_name_that_is_not_there_is_denied(host: Host, cluster: Cluster) -> None:
    assert resolved(host, f"nobody.default.svc.{cluster.cluster_domain}", cluster.dns_address) == "3 0"


@pytest.mark.on("nodes")
def test_every_master_answers_every_node(host: Host, cluster: Cluster) -> None:
    name = f"kubernetes.default.svc.{cluster.cluster_domain}"

    found = {
        master.name: resolved(host, name, node_address(cluster, master), kind=kind_of(cluster))
        for master in cluster.masters
    }
    assert set(found.values()) == {f"0 1 {cluster.service_ranges[0][1]}"}, found


@pytest.mark.on("masters")
def test_the_service_leads_to_all_masters(host: Host, cluster: Cluster) -> None:
    path = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns-machines"
    found = json.loads(host.check_output(ask(cluster, path)))

    addresses = {address for one in found["endpoints"] for address in one["addresses"]}
    assert addresses == {node_address(cluster, master) for master in cluster.masters}


@pytest.mark.on("nodes")
def test_pods_are_sent_to_the_service(host: Host, cluster: Cluster, machine: Machine) -> None:
    listed = ", ".join(f'"{address}"' for address in name_servers(cluster))

    assert f"clusterDNS: [{listed}]" in host.file("/var/lib/kubelet/config.yaml").content_string


@pytest.mark.on("nodes")
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_node_s_own_cache_knows_the_cluster_s_names(host: Host, cluster: Cluster, protocol: str) -> None:
    """Where the topology asks for one; elsewhere there is neither link nor unit, unless a pod of before needs them."""
    name = f"kubernetes.default.svc.{cluster.cluster_domain}"

    if cluster.node_local_dns:
        told = resolved(host, name, address_of(cluster), protocol, kind_of(cluster))
        assert told == f"0 1 {cluster.service_ranges[0][1]}"
        assert (
            resolved(host, f"nobody.default.svc.{cluster.cluster_domain}", address_of(cluster), protocol)
            == "3 0"
        )
    elif host.run(is_asked()).rc != 0:
        assert host.run("ip link show dev kybern-dns").rc != 0
        assert not host.service("kybern-node-dns").is_running
