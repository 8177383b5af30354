"""Pods of nodes that a router stands between: real packets of both families through the VXLAN device.

pod-a 10.244.1.2 -- node-a 192.0.2.1 -- 192.0.2.254 router 198.51.100.254 -- 198.51.100.1 node-b -- pod-b 10.244.2.2

The router knows the machines' networks and none of the pods'; the machines have no IPv6 address of their own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest

from kybern.api.core_v1 import Node, NodeAddress, NodeSpec, NodeStatus
from kybern.api.meta_v1 import ObjectMeta
from kybern.cni.sync import NAME, State, Syncer

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft"))),
        reason="needs root, iproute2 and nftables",
    ),
]
ROUTER = f"kybern-router-{os.getpid()}"
# A pod that answers each datagram with its size and the caller's address, and counts what comes over each connection.
SERVER = """
import socket, sys, threading
address = sys.argv[1]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
streams = socket.create_server((address, 8080), family=family)
datagrams = socket.socket(family, socket.SOCK_DGRAM); datagrams.bind((address, 8080))
def serve():
    while True:
        stream, caller = streams.accept()
        with stream, stream.makefile("rb") as sent:
            stream.sendall(f"{len(sent.read())} {caller[0]}".encode())
threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
while True:
    told, caller = datagrams.recvfrom(65536)
    datagrams.sendto(f"{len(told)} {caller[0]}".encode(), caller)
"""
# A datagram that must not be cut on its way; prints the answer, or why there is none.
DATAGRAM = """
import socket, sys
address, size = sys.argv[1], int(sys.argv[2])
six = ":" in address
line = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
line.settimeout(3)
line.setsockopt(*((41, 23, 2) if six else (0, 10, 2)))  # IPV6_MTU_DISCOVER and IP_MTU_DISCOVER: always
line.connect((address, 8080))
try:
    line.send(bytes(size)); print(line.recv(100).decode())
except OSError as problem:
    print(type(problem).__name__, problem.errno)
"""
STREAM = """
import socket, sys
with socket.create_connection((sys.argv[1], 8080), 5) as line:
    line.sendall(bytes(1_000_000)); line.shutdown(socket.SHUT_WR); print(line.recv(100).decode())
"""


def sh(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True, timeout=30).stdout


def run(place: str, code: str, *words: object) -> str:
    command = ["ip", "netns", "exec", place, sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


@dataclass(frozen=True)
class End:
    """A node with one pod, each a namespace."""

    letter: str
    address: str
    pods: tuple[str, str]

    @property
    def node(self) -> str:
        return f"kybern-node-{self.letter}-{os.getpid()}"

    @property
    def pod(self) -> str:
        return f"kybern-pod-{self.letter}-{os.getpid()}"

    def ip_of_pod(self, version: int) -> str:
        return str(next(net for net in map(ip_network, self.pods) if net.version == version)[2])

    def object(self) -> Node:
        status = NodeStatus(addresses=(NodeAddress(type="InternalIP", address=self.address),))
        return Node(metadata=ObjectMeta(name=self.letter), spec=NodeSpec(pod_cidrs=self.pods), status=status)


A = End("a", "192.0.2.1", ("10.244.1.0/24", "fd00:244:0:1::/64"))
B = End("b", "198.51.100.1", ("10.244.2.0/24", "fd00:244:0:2::/64"))


@contextmanager
def inside(place: str) -> Iterator[None]:
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{place}", os.O_RDONLY)
    try:
        os.setns(there, os.CLONE_NEWNET)
        yield
    finally:
        os.setns(before, os.CLONE_NEWNET)
        os.close(before)
        os.close(there)


@dataclass
class Net:
    """``mtu`` is that of the machines' links, ``within`` what the daemons gave to the pods' links."""

    mtu: int
    within: int = 0

    def lay(self) -> None:
        """Links and addresses of machines and router."""
        sh(f"ip netns exec {ROUTER} sysctl -qw net.ipv4.ip_forward=1")
        for end in (A, B):
            gateway = f"{end.address.rpartition('.')[0]}.254"
            sh(f"ip link add to-{end.letter} netns {ROUTER} type veth peer name eth0 netns {end.node}")
            for place, name, address in (
                (ROUTER, f"to-{end.letter}", gateway),
                (end.node, "eth0", end.address),
            ):
                sh(f"ip -n {place} link set {name} mtu {self.mtu} up")
                sh(f"ip -n {place} addr add {address}/24 dev {name}")
            sh(f"ip -n {end.node} route add default via {gateway}")
            sh(f"ip netns exec {end.node} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")

    def sync(self, end: End, directory: Path) -> None:
        """What the pod network daemon does on a node."""
        state = State({one.letter: one.object() for one in (A, B)})
        syncer = Syncer(state, end.letter, directory, lambda: None)

        with inside(end.node):
            assert syncer._sync() is not None
        (bridge, *_) = json.loads((directory / NAME).read_text())["plugins"]
        self.within = bridge["mtu"]

    def join(self, end: End) -> None:
        """What the CNI plugins do for a pod, by what the daemon wrote for them."""
        sh(f"ip -n {end.node} link add cni0 mtu {self.within} type bridge")
        sh(f"ip -n {end.node} link set cni0 up")
        sh(f"ip link add pod netns {end.node} type veth peer name eth0 netns {end.pod}")
        sh(f"ip -n {end.node} link set pod mtu {self.within} master cni0 up")
        sh(f"ip -n {end.pod} link set eth0 mtu {self.within} up")
        for network in map(ip_network, end.pods):
            nodad = " nodad" if network.version == 6 else ""
            sh(f"ip -n {end.node} addr add {network[1]}/{network.prefixlen} dev cni0{nodad}")
            sh(f"ip -n {end.pod} addr add {network[2]}/{network.prefixlen} dev eth0{nodad}")
            sh(f"ip -n {end.pod} -{network.version} route add default via {network[1]}")

    def cut(self) -> int:
        """How many packets anybody on the way had to cut."""
        found = 0
        for place in (A.node, ROUTER, B.node):
            told = sh(f"ip netns exec {place} nstat -az IpFragCreates Ip6FragCreates")
            found += sum(int(line.split()[1]) for line in told.splitlines() if "FragCreates" in line)
        return found


@pytest.fixture(params=[1500, 1400])
def net(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Net]:
    with ExitStack() as undo:
        for place in (ROUTER, A.node, A.pod, B.node, B.pod):
            sh(f"ip netns add {place}")
            undo.callback(sh, f"ip netns del {place}")
            sh(f"ip -n {place} link set lo up")
        found = Net(request.param)
        found.lay()
        for end in (A, B):
            found.sync(end, tmp_path / end.letter)
            found.join(end)
        for version in (4, 6):
            address = B.ip_of_pod(version)
            command = ["ip", "netns", "exec", B.pod, sys.executable, "-c", SERVER, address]
            server = undo.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            undo.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield found


def test_pods_reach_pods_behind_a_router_with_packets_as_large_as_their_links_take(net: Net) -> None:
    assert net.within == net.mtu - 50, "what VXLAN over IPv4 takes"
    for version, headers in ((4, 28), (6, 48)):
        here, there = A.ip_of_pod(version), B.ip_of_pod(version)
        largest = net.within - headers

        assert run(A.pod, DATAGRAM, there, largest) == f"{largest} {here}", (
            "whole, and with the pod's own address"
        )
        assert run(A.pod, DATAGRAM, there, largest + 1).startswith("OSError 90"), (
            "too large for the pod's link"
        )
        assert run(A.pod, STREAM, there) == f"1000000 {here}"
    assert net.cut() == 0

    known = sh(f"ip -n {ROUTER} route") + sh(f"ip -n {ROUTER} -6 route")
    assert "10.244" not in known
    assert "fd00" not in known


def test_nodes_reach_pods_behind_a_router(net: Net) -> None:
    for version in (4, 6):
        said = run(A.node, STREAM, B.ip_of_pod(version))
        assert said.split()[0] == "1000000"
    assert net.cut() == 0


def test_a_link_that_takes_less_than_before_is_followed(net: Net, tmp_path: Path) -> None:
    for end in (A, B):
        sh(f"ip -n {ROUTER} link set to-{end.letter} mtu 1340")
        sh(f"ip -n {end.node} link set eth0 mtu 1340")
        net.sync(end, tmp_path / end.letter)

    assert net.within == 1290, "what new pods get"
    assert "mtu 1290 " in sh(f"ip -n {A.node} link show kybern-vxlan")
    for version in (4, 6):
        # Pods of before have larger links: they are told on their way (RFC 1191, RFC 8201), and send smaller packets.
        assert run(A.pod, STREAM, B.ip_of_pod(version)).split()[0] == "1000000"
