"""The proxy's rules in a real kernel, in network namespaces of the test's own: a client, a node, two pods.

client 192.0.2.2 -- 192.0.2.1 node 10.244.1.1 -- pod 10.244.1.2
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from kybern.proxy.conntrack import Conntrack
from kybern.proxy.iptables import Iptables
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Ruleset

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("iptables-restore") or not shutil.which("ip"),
        reason="needs root, iproute2 and iptables",
    ),
]

NODE, CLIENT, POD, OTHER = "kybern-node", "kybern-client", "kybern-pod", "kybern-pod2"
SETTINGS = Settings(pod_cidr="10.244.0.0/16")
WEB = ServicePort(
    "default", "web", "http", "TCP", 80, "10.96.0.10", node_port=30080,
    endpoints=(Endpoint("10.244.1.2", 8080, local=True), Endpoint("10.244.1.3", 8080, local=True)),
)  # fmt: skip
SERVER = """
import http.server, socketserver, sys
http.server.HTTPServer.server_bind = socketserver.TCPServer.server_bind  # asks no name server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{sys.argv[1]} {self.client_address[0]}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer((sys.argv[1], 8080), Handler)
print("ready", flush=True)
server.serve_forever()
"""


def sh(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True, timeout=30)


def link(name: str, address: str, gateway: str, peer: str) -> None:
    """A namespace with one address, joined to the node by a veth pair."""
    sh(f"ip netns add {name}")
    sh(f"ip link add {peer} netns {NODE} type veth peer name eth0 netns {name}")
    sh(f"ip -n {name} addr add {address} dev eth0")
    sh(f"ip -n {name} link set eth0 up")
    sh(f"ip -n {name} link set lo up")
    sh(f"ip -n {name} route add default via {gateway}")
    sh(f"ip -n {NODE} link set {peer} up")


@pytest.fixture
def network() -> Iterator[None]:
    with ExitStack() as undo:
        for name in (NODE, CLIENT, POD, OTHER):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=30)
            undo.callback(
                subprocess.run, ["ip", "netns", "del", name], check=False, capture_output=True, timeout=30
            )
        sh(f"ip netns add {NODE}")
        sh(f"ip -n {NODE} link set lo up")
        sh(f"ip -n {NODE} link add cni0 type bridge")
        sh(f"ip -n {NODE} addr add 10.244.1.1/24 dev cni0")
        sh(f"ip -n {NODE} link set cni0 up")
        link(CLIENT, "192.0.2.2/24", "192.0.2.1", "outside")
        sh(f"ip -n {NODE} addr add 192.0.2.1/24 dev outside")
        sh(
            f"ip -n {NODE} route add default via 192.0.2.2"
        )  # a service IP must have a way out to be looked at at all
        for name, address, peer in ((POD, "10.244.1.2", "pod1"), (OTHER, "10.244.1.3", "pod2")):
            link(name, f"{address}/24", "10.244.1.1", peer)
            sh(f"ip -n {NODE} link set {peer} master cni0")
            sh(f"ip netns exec {NODE} sysctl -qw net.ipv4.conf.{peer}.route_localnet=0")
            server = undo.enter_context(
                subprocess.Popen(
                    ["ip", "netns", "exec", name, sys.executable, "-c", SERVER, address],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            undo.callback(server.terminate)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            undo.callback(server.stdout.close)
        sh(f"ip netns exec {NODE} sysctl -qw net.ipv4.ip_forward=1")
        yield


def ask(where: str, url: str, port: int = 80) -> str:
    """The pod that answered and whom it saw; "" when nobody did."""
    code = f"import urllib.request as r; print(r.urlopen('http://{url}:{port}', timeout=3).read().decode())"
    done = subprocess.run(
        ["ip", "netns", "exec", where, sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.strip()


class InNode:
    """Applies rules inside the node's namespace, with iptables of the machine."""

    def __init__(self) -> None:
        self.kernel = Iptables()
        self.rules = Ruleset(SETTINGS)

    def apply(self, port: ServicePort) -> int:
        self.rules.put((port.namespace, port.service), [port])
        return self._inside(self.kernel.apply(self.rules))

    def is_intact(self) -> bool:
        return bool(self._inside(self.kernel.is_intact(self.rules)))

    def forget_stale(self, port: ServicePort) -> None:
        self._inside(Conntrack().forget_stale([port]))

    def remove(self) -> None:
        self._inside(self.kernel.remove())

    def _inside[T](self, work: Coroutine[Any, Any, T]) -> T:
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        inside = os.open(f"/run/netns/{NODE}", os.O_RDONLY)
        try:
            os.setns(inside, os.CLONE_NEWNET)
            return asyncio.run(work)
        finally:
            os.setns(before, os.CLONE_NEWNET)
            os.close(before)
            os.close(inside)


@pytest.mark.usefixtures("network")
def test_services_answer_from_outside_from_the_node_and_from_pods() -> None:
    node = InNode()
    node.apply(WEB)

    assert {ask(NODE, "10.96.0.10").split(" ")[0] for _ in range(12)} == {"10.244.1.2", "10.244.1.3"}
    assert ask(CLIENT, "192.0.2.1", 30080).split(" ")[1] == "10.244.1.1", "masqueraded"
    assert ask(POD, "10.96.0.10").startswith("10.244.1."), "a pod reaches the service, itself included"

    node.apply(replace(WEB, external_local=True))
    assert ask(CLIENT, "192.0.2.1", 30080).split(" ")[1] == "192.0.2.2", "the caller's address is kept"

    node.apply(replace(WEB, affinity=60))
    assert len({ask(NODE, "10.96.0.10") for _ in range(6)}) == 1, "a client keeps its endpoint"

    node.apply(replace(WEB, endpoints=()))
    assert ask(NODE, "10.96.0.10") == ""

    node.remove()
    left = subprocess.run(
        ["ip", "netns", "exec", NODE, "iptables-save"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    assert "KUBE-" not in left


@pytest.mark.usefixtures("network")
def test_a_second_time_and_a_new_daemon_change_what_differs_only() -> None:
    node = InNode()

    assert node.apply(WEB) > 0
    assert node.apply(WEB) == 0
    assert node.is_intact()

    sh(f"ip netns exec {NODE} iptables -t nat -F PREROUTING")
    assert not node.is_intact(), "somebody removed our jump"

    again = InNode()
    again.apply(replace(WEB, service="other", cluster_ip="10.96.0.11"))
    left = subprocess.run(
        ["ip", "netns", "exec", NODE, "iptables-save", "-t", "nat"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    assert "default/web" not in left, "a new daemon removes what an old one left"
    assert left.count("-j KUBE-SERVICES") == 2, "each jump is there once"


UDP = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 8080))
print("ready", flush=True)
while True:
    _, caller = server.recvfrom(100)
    server.sendto(sys.argv[1].encode(), caller)
"""
ASK = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
client.connect(("10.96.0.20", 80))
for line in sys.stdin:
    client.send(b"?")
    try:
        print(client.recv(100).decode(), flush=True)
    except TimeoutError:
        print("nobody", flush=True)
"""


@pytest.mark.usefixtures("network")
def test_a_udp_client_is_taken_from_an_endpoint_that_no_longer_serves() -> None:
    first, second = WEB.endpoints
    dns = replace(
        WEB, service="names", protocol="UDP", cluster_ip="10.96.0.20", node_port=0, endpoints=(first,)
    )
    node = InNode()
    node.apply(dns)
    with ExitStack() as undo:

        def program(where: str, code: str, *arguments: str) -> "subprocess.Popen[str]":
            command = ["ip", "netns", "exec", where, sys.executable, "-c", code, *arguments]
            found = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            undo.enter_context(found)
            undo.callback(found.kill)
            return found

        for name, address in ((POD, first.ip), (OTHER, second.ip)):
            server = program(name, UDP, address)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        client = program(NODE, ASK)

        def answered() -> str:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write("\n")
            client.stdin.flush()
            return client.stdout.readline().strip()

        before = answered()
        gone = replace(dns, endpoints=(replace(first, ready=False, serving=False), second))
        node.apply(gone)
        kept = answered()
        node.forget_stale(gone)
        after = answered()

    assert (before, kept, after) == (first.ip, first.ip, second.ip)
