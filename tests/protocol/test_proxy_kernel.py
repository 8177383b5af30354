"""The proxy's rules in a real kernel, in network namespaces of the test's own: a client, a node, two pods.

client 192.0.2.2 -- 192.0.2.1 node 10.244.1.1 -- pod 10.244.1.2
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kybern.cli.proxy import backends
from kybern.cni.netlink import Kernel as Routes
from kybern.cni.plan import ServiceRoute
from kybern.machines.topology import Cluster, Machine
from kybern.netfilter.programs import CannotApply, run
from kybern.proxy import metrics, tables
from kybern.proxy.backend import Backend
from kybern.proxy.config import Config
from kybern.proxy.conntrack import Conntrack
from kybern.proxy.families import Family
from kybern.proxy.iptables import AT_ONCE, Iptables
from kybern.proxy.ipvs.backend import Ipvs
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.table import table
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.nftables import Nftables
from kybern.proxy.restore import LONG
from kybern.proxy.rules import JUMPS, Settings, chain_of, endpoint_chain
from kybern.proxy.transaction import NAME
from roles import firewall
from tests.protocol import sctp

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(one) for one in ("ip", "iptables-restore", "nft")),
        reason="needs root, iproute2, iptables and nftables",
    ),
]

NODE, CLIENT, POD, OTHER = (f"kybern-{name}-{os.getpid()}" for name in ("node", "client", "pod", "pod2"))
SETTINGS = Settings(pod_cidr="10.244.0.0/16")
MACHINE = Machine("n1", IPv4Address("192.0.2.1"), frozenset({"control-plane", "worker", "etcd"}))
WEB = ServicePort(
    "default", "web", "http", "TCP", 80, "10.96.0.10", node_port=30080,
    endpoints=(Endpoint("10.244.1.2", 8080, local=True), Endpoint("10.244.1.3", 8080, local=True)),
)  # fmt: skip
SIX = replace(WEB, cluster_ip="fd00:96::10", endpoints=(Endpoint("fd00:244::2", 8080, local=True),))
DUAL = replace(SETTINGS, pod_cidr6="fd00:244::/64")
MODES: dict[str, Callable[[Settings], Backend]] = {
    "iptables": Iptables,
    "ipvs": lambda settings: Ipvs(settings, Options()),
    "nftables": Nftables,
}


def has_ipvs() -> bool:
    try:
        with table():
            return shutil.which("ipset") is not None
    except CannotApply:
        return False


needs_ipvs = pytest.mark.skipif(not has_ipvs(), reason="needs ipset, and ip_vs in the kernel")


def using(mode: str, *more: object) -> Any:
    """A parameter of a test, left out where the kernel cannot do it."""
    return pytest.param(mode, *more, marks=[needs_ipvs] if "ipvs" in (mode, *more) else [])


each = pytest.mark.parametrize("mode", [using(mode) for mode in MODES])
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
        # A service IP must have a way out to be looked at at all.
        sh(f"ip -n {NODE} link add elsewhere type bridge")
        sh(f"ip -n {NODE} addr add 203.0.113.1/24 dev elsewhere")
        sh(f"ip -n {NODE} link set elsewhere up")
        sh(f"ip -n {NODE} route add default via 203.0.113.2")
        for name, address, peer in ((POD, "10.244.1.2", "pod1"), (OTHER, "10.244.1.3", "pod2")):
            link(name, f"{address}/24", "10.244.1.1", peer)
            sh(f"ip -n {NODE} link set {peer} master cni0")
            # As the bridge plugin does: a pod may be given to itself.
            sh(f"ip -n {NODE} link set {peer} type bridge_slave hairpin on")
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


def add_ipv6() -> None:
    sh(f"ip netns exec {NODE} sysctl -qw net.ipv6.conf.all.forwarding=1")
    sh(f"ip -n {NODE} addr add 2001:db8::1/64 dev outside nodad")
    sh(f"ip -n {CLIENT} addr add 2001:db8::2/64 dev eth0 nodad")
    sh(f"ip -n {CLIENT} route add default via 2001:db8::1")
    sh(f"ip -n {NODE} addr add fd00:244::1/64 dev cni0 nodad")
    for name, last in ((POD, 2), (OTHER, 3)):
        sh(f"ip -n {name} addr add fd00:244::{last}/64 dev eth0 nodad")
        sh(f"ip -n {name} route add default via fd00:244::1")
    # A service IP must have a way out to be looked at at all.
    sh(f"ip -n {NODE} addr add 2001:db8:5::1/64 dev elsewhere nodad")
    sh(f"ip -n {NODE} route add default via 2001:db8:5::2")


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


def left_of(name: str) -> list[str]:
    """Lines of the node's rules that name something, in either program's tables."""
    found = ""
    for program in (
        "iptables-save",
        "ip6tables-save",
        "nft list tables",
        f"nft list table ip {NAME}",
        f"nft list table ip6 {NAME}",
        "ip -o address",
    ):
        command = ["ip", "netns", "exec", NODE, *program.split()]
        # Listing a table fails where there is no such table, which "list tables" tells.
        found += subprocess.run(command, check=False, capture_output=True, text=True, timeout=30).stdout
    return [line for line in found.splitlines() if name in line]


# How somebody else takes away what a backend needs.
LOSE = {
    "iptables": "iptables -t nat -F PREROUTING",
    "ipvs": "ip address flush dev kube-ipvs0",
    "nftables": "nft flush table ip kube-proxy",
}


def traces(mode: str, port: ServicePort) -> list[str]:
    """What the node's rules say of a service."""
    return left_of(f" {port.cluster_ip}/32 " if mode == "ipvs" else port.title)


def knock(where: str, address: str, port: int = 80) -> str:
    """What becomes of a connection: open, refused, or silence."""
    code = (
        f"import socket\ntry: socket.create_connection(({address!r}, {port}), 1.5); print('open')\n"
        "except TimeoutError: print('silence')\nexcept OSError: print('refused')"
    )
    command = ["ip", "netns", "exec", where, sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


class InNode:
    """Applies rules inside the node's namespace, with the programs of the machine."""

    def __init__(self, mode: str, settings: Settings = SETTINGS) -> None:
        self.kernel: Backend = MODES[mode](settings)
        self.settings = settings
        self.kernel.settle(("192.0.2.1", *(["2001:db8::1"] if settings.pod_cidr6 else [])))

    def apply(self, *ports: ServicePort) -> int:
        for port in ports:
            self.kernel.put((port.namespace, port.service), [port])
        return self._inside(self.kernel.apply())

    def drop(self, port: ServicePort) -> int:
        self.kernel.put((port.namespace, port.service), [])
        return self._inside(self.kernel.apply())

    def is_intact(self) -> bool:
        return bool(self._inside(self.kernel.is_intact()))

    def forget_stale(self, now: Sequence[ServicePort], before: Sequence[ServicePort] = ()) -> None:
        assert self._inside(Conntrack().forget_stale(now, before))

    def remove(self) -> None:
        self._inside(self.kernel.remove())

    def prepare(self) -> None:
        """What the daemon does before its first rules."""
        assert isinstance(self.kernel, Iptables)
        self._inside(self.kernel.prepare())

    def told(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """A figure as /metrics would tell it."""
        registry = CollectorRegistry()
        metrics.register("iptables", registry)

        async def sample() -> float | None:
            return registry.get_sample_value(name, dict(labels or {}))

        return self._inside(sample())

    def lead_to_services(self, network: str, source: str) -> None:
        """What the pod network daemon does."""

        def add() -> None:
            with Routes() as routes:
                _, link, _ = routes.link(ip_address(source))
                routes.add_service_route(ServiceRoute(ip_network(network), link, ip_address(source)))

        self._inside(asyncio.to_thread(add))

    def clear_others(self, mode: str) -> None:
        """What the daemon does once its own rules are right."""
        pods = ",".join(filter(None, (self.settings.pod_cidr, self.settings.pod_cidr6)))
        for other in backends(Config("", "n1", pods, mode=mode))[1]:
            self._inside(other.remove())

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


@each
@pytest.mark.usefixtures("network")
def test_services_answer_from_outside_from_the_node_and_from_pods(mode: str) -> None:
    node = InNode(mode)
    node.apply(WEB)

    assert {ask(NODE, "10.96.0.10").split(" ")[0] for _ in range(12)} == {"10.244.1.2", "10.244.1.3"}
    assert ask(CLIENT, "192.0.2.1", 30080).split(" ")[1] == "10.244.1.1", "masqueraded"
    assert {ask(POD, "10.96.0.10") for _ in range(12)} == {
        "10.244.1.3 10.244.1.2",
        "10.244.1.2 10.244.1.1",  # given to itself, it has to see another caller
    }

    node.apply(replace(WEB, external_local=True))
    assert ask(CLIENT, "192.0.2.1", 30080).split(" ")[1] == "192.0.2.2", "the caller's address is kept"

    node.apply(replace(WEB, affinity=60))
    assert len({ask(NODE, "10.96.0.10") for _ in range(6)}) == 1, "a client keeps its endpoint"

    node.apply(replace(WEB, endpoints=()))
    assert ask(NODE, "10.96.0.10") == ""

    node.remove()
    assert not left_of("KUBE-")
    assert not left_of("kube-proxy")


@each
@pytest.mark.usefixtures("network")
def test_a_second_time_and_a_new_daemon_change_what_differs_only(mode: str) -> None:
    node = InNode(mode)

    assert node.apply(WEB) > 0
    assert node.apply(WEB) == 0
    assert node.is_intact()

    sh(f"ip netns exec {NODE} nft add table ip somebody")
    assert node.is_intact(), "others may do what they like in tables of their own"

    sh(f"ip netns exec {NODE} {LOSE[mode]}")
    assert not node.is_intact(), "somebody removed our jump"

    again = InNode(mode)
    other = replace(WEB, service="other", cluster_ip="10.96.0.11")
    again.apply(other)
    assert not traces(mode, WEB), "a new daemon removes what an old one left"
    assert traces(mode, other)
    assert again.is_intact()
    assert ask(NODE, "10.96.0.11")


@pytest.mark.parametrize(
    "loss",
    [
        "iptables -t nat -F",
        "iptables -t nat -F KUBE-SERVICES",
        "iptables -t nat -F KUBE-SERVICES-A",
        "iptables -t nat -F KUBE-MARK-MASQ",
        "iptables -t nat -F KUBE-POSTROUTING",
        "iptables -t nat -F KUBE-NODEPORTS",
        "iptables -F FORWARD",
        "iptables -F KUBE-FORWARD",
        "nft delete table ip nat",
        "nft flush ruleset",
    ],
)
@pytest.mark.usefixtures("network")
def test_whatever_flush_of_iptables_is_noticed_even_when_rules_are_changed_after_it(loss: str) -> None:
    node = InNode("iptables")
    node.apply(WEB)
    sh(f"ip netns exec {NODE} nft add table ip somebody")
    assert node.is_intact()

    sh(f"ip netns exec {NODE} {loss}")
    if "nft" not in loss:
        node.apply(replace(WEB, service="other", cluster_ip="10.96.0.11", node_port=0))

    assert not node.is_intact()
    node.kernel.forget()
    node.apply()
    assert node.is_intact()
    assert ask(CLIENT, "10.96.0.10")


counted = pytest.mark.parametrize("mode", ["iptables", "nftables"])
OTHER_WEB = replace(WEB, service="other", cluster_ip="10.96.0.11", node_port=0)


@pytest.fixture
def bare_node() -> Iterator[None]:
    """The node alone: no links, for tests of rules that no packet meets."""
    sh(f"ip netns add {NODE}")
    try:
        yield
    finally:
        sh(f"ip netns del {NODE}")


@counted
@pytest.mark.usefixtures("bare_node")
def test_while_nobody_else_changed_rules_no_program_is_asked(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = InNode(mode, DUAL)

    def is_intact_unseen() -> bool:
        with monkeypatch.context() as patch:
            patch.setenv("PATH", "")
            return node.is_intact()

    six = replace(SIX, service="six", node_port=0)
    node.apply(WEB, six)
    assert is_intact_unseen()
    without = replace(WEB, endpoints=())
    for ports in ([OTHER_WEB], [without, WEB], [without, replace(six, endpoints=())], [WEB], [WEB]):
        node.apply(*ports)
        assert is_intact_unseen(), "each of our own writes is counted as many times as the kernel does"
    node.drop(OTHER_WEB)
    assert is_intact_unseen()


@counted
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.usefixtures("bare_node")
def test_a_flush_right_beside_a_write_of_ours_is_noticed(
    mode: str, when: str, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    """Others write while our program runs: after we asked for the count, and before we ask for it again."""
    node = InNode(mode)
    node.apply(WEB)
    if whole:
        node.kernel.forget()

    async def beside(*command: str, stdin: str = "") -> str:
        if not stdin:
            return await run(*command)
        if when == "before":
            await run(*LOSE[mode].split())
        said = await run(*command, stdin=stdin)
        if when == "after":
            await run(*LOSE[mode].split())
        return said

    with monkeypatch.context() as patch:
        patch.setattr("kybern.proxy.tables.run", beside)
        patch.setattr("kybern.proxy.nftables.run", beside)
        node.apply(OTHER_WEB)
    # Where all was written after the flush nothing is lost, and the look at the rules finds so.
    assert node.is_intact() is (whole and when == "before" and mode == "nftables")

    node.kernel.forget()
    node.apply()
    assert node.is_intact()


@pytest.mark.usefixtures("bare_node")
def test_what_one_family_lost_is_noticed_although_the_other_one_was_written_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = InNode("iptables", DUAL)
    node.apply(WEB, SIX)

    async def refusing(*command: str, stdin: str = "") -> str:
        if command[0] == "ip6tables-restore":
            raise CannotApply("refused")
        return await run(*command, stdin=stdin)

    other_six = replace(SIX, service="other", cluster_ip="fd00:96::11", node_port=0)
    with monkeypatch.context() as patch:
        patch.setattr("kybern.proxy.tables.run", refusing)
        with pytest.raises(CannotApply, match="refused"):
            node.apply(OTHER_WEB, other_six)
    sh(f"ip netns exec {NODE} {LOSE['iptables']}")

    node.apply()
    assert not node.is_intact()


AWAY = tuple(replace(one, local=False) for one in WEB.endpoints)
BALANCED = replace(WEB, balancer_ips=("198.51.100.7",), external_ips=("198.51.100.8",))


@each
@pytest.mark.usefixtures("network")
def test_external_addresses_answer_whom_they_may(mode: str) -> None:
    node = InNode(mode)

    node.apply(BALANCED)
    assert [knock(CLIENT, ip) for ip in ("198.51.100.7", "198.51.100.8")] == ["open", "open"]
    assert knock(POD, "198.51.100.7") == "open"

    node.apply(replace(BALANCED, source_ranges=("203.0.113.0/24", "10.0.0.0/8", "10.1.0.0/16")))
    assert [knock(CLIENT, ip) for ip in ("198.51.100.7", "198.51.100.8")] == ["silence", "open"]
    assert knock(CLIENT, "192.0.2.1", 30080) == "open", "ranges are for the balancer's address"
    assert knock(POD, "198.51.100.7") == "open", "a pod is within the second range"

    node.apply(replace(BALANCED, source_ranges=("192.0.2.0/24",)))
    assert knock(CLIENT, "198.51.100.7") == "open"

    node.drop(BALANCED)
    assert knock(CLIENT, "198.51.100.7") == "silence", "nobody has the address any more"


@each
@pytest.mark.usefixtures("network")
def test_where_nobody_answers_callers_are_told_and_where_others_would_they_are_not(mode: str) -> None:
    node = InNode(mode)

    node.apply(replace(BALANCED, endpoints=()))
    assert [knock(NODE, "10.96.0.10"), knock(POD, "10.96.0.10")] == ["refused"] * 2
    assert [knock(CLIENT, "198.51.100.7"), knock(CLIENT, "192.0.2.1", 30080)] == ["refused"] * 2

    node.apply(replace(BALANCED, endpoints=AWAY[1:], external_local=True, internal_local=True))
    if mode == "ipvs":
        # A virtual server has no endpoint here, and cannot know of others; one for outside serves pods from all.
        assert [knock(NODE, "10.96.0.10"), knock(POD, "10.96.0.10")] == ["refused"] * 2
    else:
        assert [knock(NODE, "10.96.0.10"), knock(POD, "10.96.0.10")] == ["silence"] * 2
        assert [knock(CLIENT, "198.51.100.7"), knock(CLIENT, "192.0.2.1", 30080)] == ["silence"] * 2
    assert [knock(NODE, "198.51.100.7"), knock(POD, "198.51.100.7")] == ["open"] * 2, "as if by the balancer"
    assert knock(NODE, "192.0.2.1", 30080) == "open"

    node.apply(BALANCED)
    assert [knock(NODE, "10.96.0.10"), knock(CLIENT, "198.51.100.7")] == ["open"] * 2


@each
@pytest.mark.usefixtures("network")
def test_the_number_of_a_node_port_is_nobody_else_s(mode: str) -> None:
    """What passes by on its way to another machine's port of that number is left alone, whether there are endpoints here."""
    node = InNode(mode)

    for endpoints in (AWAY, AWAY[1:], ()):
        node.apply(replace(WEB, endpoints=endpoints, external_local=True))
        assert knock(POD, "192.0.2.2", 30080) == "refused", "nobody listens there, and so it says itself"


@each
@pytest.mark.parametrize("places", [("192.0.2.0/24",), ("primary",)])
@pytest.mark.usefixtures("network")
def test_node_ports_answer_where_they_shall(mode: str, places: tuple[str, ...]) -> None:
    node = InNode(mode, replace(SETTINGS, node_port_networks=places))

    node.apply(WEB)

    assert knock(CLIENT, "192.0.2.1", 30080) == "open"
    assert knock(CLIENT, "10.244.1.1", 30080) == "refused", "an address of the node where no node port is"


@each
@pytest.mark.usefixtures("network")
def test_a_client_keeps_its_endpoint_until_that_is_gone_or_time_is_up(mode: str) -> None:
    node, sticky = InNode(mode), replace(WEB, affinity=60)
    node.apply(sticky)
    first = ask(CLIENT, "192.0.2.1", 30080).split(" ")[0]

    again = InNode(mode)
    again.apply(sticky)
    assert {ask(CLIENT, "192.0.2.1", 30080).split(" ")[0] for _ in range(6)} == {first}, "across daemons"

    again.apply(replace(sticky, endpoints=tuple(one for one in WEB.endpoints if one.ip != first)))
    other = ask(CLIENT, "192.0.2.1", 30080).split(" ")[0]
    assert other not in {"", first}

    again.apply(sticky)
    assert {ask(CLIENT, "192.0.2.1", 30080).split(" ")[0] for _ in range(6)} == {other}

    again.apply(WEB)
    assert len({ask(CLIENT, "192.0.2.1", 30080) for _ in range(12)}) == 2, "without affinity to any"

    if mode == "ipvs":
        return  # it remembers a client for as long as it remembers a connection, which is minutes
    again.apply(replace(WEB, affinity=1))
    found: list[str] = []
    deadline = time.monotonic() + 30
    while len(set(found)) < 2 and time.monotonic() < deadline:
        found.append(ask(CLIENT, "192.0.2.1", 30080))
        idle = time.monotonic() + 1.5
        while time.monotonic() < idle:
            assert again.is_intact()
    assert len(set(found)) == 2, "a second passed between two calls"


@each
@pytest.mark.usefixtures("network")
def test_an_address_that_two_services_ask_for_belongs_to_one_and_then_to_the_other(mode: str) -> None:
    first = replace(WEB, service="a", external_ips=("198.51.100.8",), endpoints=WEB.endpoints[:1])
    second = replace(
        first, service="b", cluster_ip="10.96.0.11", node_port=30081, endpoints=WEB.endpoints[1:]
    )
    node = InNode(mode)

    node.apply(second, first)
    assert {ask(CLIENT, "198.51.100.8").split(" ")[0] for _ in range(6)} == {"10.244.1.2"}
    assert ask(NODE, "10.96.0.11").startswith("10.244.1.3"), "the rest of the other is served"

    node.drop(first)
    assert {ask(CLIENT, "198.51.100.8").split(" ")[0] for _ in range(6)} == {"10.244.1.3"}


@pytest.mark.parametrize(("mode", "other"), [using(*pair) for pair in permutations(MODES, 2)])
@pytest.mark.usefixtures("network")
def test_one_mode_takes_over_from_another(mode: str, other: str) -> None:
    before, node = InNode(other), InNode(mode)
    before.apply(BALANCED)

    node.apply(BALANCED)
    assert ask(NODE, "10.96.0.10"), "while both are there"

    node.clear_others(mode)
    assert node.is_intact()
    for name in {"iptables": ("KUBE-SVC",), "ipvs": ("KUBE-IPVS", "kube-ipvs0"), "nftables": ("kube-proxy",)}[
        other
    ]:
        assert not left_of(name)
    assert [ask(NODE, "10.96.0.10") != "", ask(CLIENT, "198.51.100.8") != ""] == [True, True]


@each
@pytest.mark.usefixtures("network")
def test_changes_of_all_kinds_one_after_the_other_leave_what_a_new_daemon_would_write(mode: str) -> None:
    node = InNode(mode)
    variants = [
        BALANCED,
        replace(BALANCED, external_local=True),
        replace(BALANCED, external_local=True, affinity=10),
        replace(BALANCED, affinity=20, source_ranges=("10.0.0.0/8",)),
        replace(BALANCED, affinity=20, endpoints=WEB.endpoints[:1]),
        replace(BALANCED, endpoints=AWAY, internal_local=True, protocol="UDP"),
        replace(BALANCED, endpoints=(), protocol="SCTP"),
        replace(BALANCED, endpoints=(), node_port=0, external_ips=()),
        replace(WEB, node_port=30081),
    ]
    node.apply(*(replace(WEB, service=f"s{n}", cluster_ip=f"10.96.1.{n}", node_port=0) for n in range(5)))

    for variant in variants + variants[::-1]:
        node.apply(variant)
        assert node.is_intact(), variant

    node.drop(WEB)
    assert not traces(mode, WEB)
    assert node.is_intact()


@each
@pytest.mark.usefixtures("network")
def test_the_node_s_firewall_lets_services_pass_and_keeps_strangers_out(mode: str, tmp_path: Path) -> None:
    cluster = Cluster("x", IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.254"), None, (MACHINE,))
    for file in firewall.rules(cluster, MACHINE, (22,)).files:
        (tmp_path / Path(file.path).name).write_bytes(file.content)
    sh(f"ip netns exec {NODE} iptables-restore --noflush {tmp_path / 'firewall.rules'}")
    sh(f"ip netns exec {NODE} iptables -I INPUT 1 -j KYBERN-INPUT")
    sh(f"ip netns exec {NODE} iptables -t nat -A POSTROUTING -j KYBERN-PODS")
    server = [
        "ip", "netns", "exec", NODE, sys.executable, "-c", SERVER, "192.0.2.1",
    ]  # fmt: skip
    node = InNode(mode)

    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        node.apply(BALANCED)
        assert [knock(CLIENT, "198.51.100.7"), knock(CLIENT, "192.0.2.1", 30080)] == ["open"] * 2
        assert {ask(POD, "10.96.0.10") for _ in range(12)} == {
            "10.244.1.3 10.244.1.2",
            "10.244.1.2 10.244.1.1",
        }
        node.apply(replace(BALANCED, endpoints=(Endpoint("192.0.2.1", 8080, local=True),)))
        assert ask(CLIENT, "192.0.2.1", 30080).startswith("192.0.2.1"), "a pod on the node's own network"
        assert [bool(ask(where, "10.96.0.10")) for where in (NODE, POD)] == [True, True]
        assert knock(CLIENT, "192.0.2.1", 8080) == "silence", "a stranger who does not come by the service"
        running.terminate()


@pytest.mark.usefixtures("network")
def test_nftables_refuses_ports_of_a_cluster_address_that_nobody_has() -> None:
    node = InNode("nftables")

    node.apply(WEB)

    assert [knock(NODE, "10.96.0.10", 81), knock(POD, "10.96.0.10", 81)] == ["refused"] * 2


@pytest.mark.usefixtures("network")
def test_a_table_that_another_proxy_left_is_made_anew() -> None:
    other = "table ip kube-proxy { map service-ips { type ipv4_addr : verdict ; }\n chain services { }\n }"
    command = ["ip", "netns", "exec", NODE, "nft", "-f", "-"]
    subprocess.run(command, input=other, check=True, text=True, timeout=30)
    node = InNode("nftables")

    node.apply(WEB)

    assert node.is_intact()
    assert ask(NODE, "10.96.0.10")


@each
@pytest.mark.usefixtures("network")
def test_ipv6_services_are_served_beside_those_of_ipv4(mode: str) -> None:
    node = InNode(mode, DUAL)

    with six_answers():
        for ports in ([WEB, SIX], [replace(WEB, affinity=9), replace(SIX, affinity=9)]):
            node.kernel.put(("default", "web"), ports)
            node.apply()
            assert ask(NODE, "10.96.0.10")
            assert ask(NODE, "[fd00:96::10]").startswith("fd00:244::2 fd00:244::1")
    assert node.is_intact()


@pytest.mark.parametrize("mode", [using("iptables"), using("nftables")])
@pytest.mark.usefixtures("network")
def test_the_node_itself_calls_a_service_without_any_default_route(mode: str) -> None:
    """With ipvs the address is the node's own, so there is always a way."""
    node = InNode(mode, DUAL)
    with six_answers():
        sh(f"ip -n {NODE} -6 route del default")
        node.apply(SIX)
        assert ask(OTHER, "[fd00:96::10]"), "what pods send gets its destination before a way is looked for"
        assert ask(NODE, "[fd00:96::10]") == "", "no way to it, so no rule sees it"

        node.lead_to_services("fd00:96::/112", "2001:db8::1")

        assert ask(NODE, "[fd00:96::10]") == "fd00:244::2 fd00:244::1"
        assert knock(NODE, "fd00:96::11") != "open", "nobody has it"


@each
@pytest.mark.usefixtures("network")
def test_ipv6_services_answer_at_every_address_whom_they_may(mode: str) -> None:
    outside = replace(SIX, balancer_ips=("2001:db8:1::7",), external_ips=("2001:db8:1::8",))
    node = InNode(mode, DUAL)

    with six_answers():
        node.apply(outside)
        assert ask(CLIENT, "[2001:db8::1]", 30080) == "fd00:244::2 fd00:244::1", "masqueraded"
        assert [knock(CLIENT, ip) for ip in ("2001:db8:1::7", "2001:db8:1::8")] == ["open", "open"]
        assert ask(POD, "[fd00:96::10]") == "fd00:244::2 fd00:244::1", (
            "given to itself, it sees another caller"
        )
        assert ask(OTHER, "[fd00:96::10]") == "fd00:244::2 fd00:244::3"

        node.apply(replace(outside, external_local=True))
        assert ask(CLIENT, "[2001:db8::1]", 30080) == "fd00:244::2 2001:db8::2", (
            "the caller's address is kept"
        )

        node.apply(replace(outside, source_ranges=("2001:db8:2::/64",)))
        assert [knock(CLIENT, ip) for ip in ("2001:db8:1::7", "2001:db8:1::8")] == ["silence", "open"]

    node.apply(replace(outside, endpoints=()))
    assert [knock(CLIENT, "2001:db8::1", 30080), knock(NODE, "fd00:96::10")] == ["refused", "refused"]

    node.remove()
    assert not left_of("KUBE-")
    assert not left_of("kube-proxy")


@pytest.mark.parametrize(("mode", "other"), [using(*pair) for pair in permutations(MODES, 2)])
@pytest.mark.parametrize("both", [pytest.param(True, id="both"), pytest.param(False, id="IPv4 from now on")])
@pytest.mark.usefixtures("network")
def test_one_mode_takes_over_both_families_from_another(mode: str, other: str, *, both: bool) -> None:
    before, node = InNode(other, DUAL), InNode(mode, DUAL if both else SETTINGS)
    with six_answers():
        before.apply(SIX)

        node.apply(SIX)
        node.clear_others(mode)

        assert node.is_intact()
        assert bool(ask(NODE, "[fd00:96::10]")) == both
    traces = {"iptables": "KUBE-SVC", "ipvs": "KUBE-6", "nftables": "kube-proxy"}
    assert not left_of(traces[other])
    assert both or not traces_of_six()


def traces_of_six() -> list[str]:
    return left_of(SIX.cluster_ip)


@contextmanager
def sctp_answers(address: str) -> Iterator[None]:
    """A server of SCTP at port 8080 of the first pod."""
    command = ["ip", "netns", "exec", POD, sys.executable, sctp.__file__, "serve", address, "8080"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            server.kill()


def ask_sctp(where: str, address: str, port: int = 80) -> str:
    """The pod that answered and whom it saw; "" when nobody did."""
    command = ["ip", "netns", "exec", where, sys.executable, sctp.__file__, "ask", address, str(port)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


@each
@pytest.mark.parametrize("service", [pytest.param(WEB, id="IPv4"), pytest.param(SIX, id="IPv6")])
@pytest.mark.usefixtures("network")
def test_services_of_sctp_are_served_as_those_of_tcp(mode: str, service: ServicePort) -> None:
    add_ipv6()
    here = replace(service, protocol="SCTP", endpoints=service.endpoints[:1])
    pod, node_ip, bridge, client = (
        (here.endpoints[0].ip, "2001:db8::1", "fd00:244::1", "2001:db8::2")
        if service is SIX
        else (here.endpoints[0].ip, "192.0.2.1", "10.244.1.1", "192.0.2.2")
    )
    node = InNode(mode, DUAL)

    with sctp_answers(pod):
        node.apply(here)
        assert ask_sctp(NODE, here.cluster_ip) == f"{pod} {bridge}"
        assert ask_sctp(CLIENT, node_ip, 30080) == f"{pod} {bridge}", "masqueraded"
        assert ask_sctp(POD, here.cluster_ip) == f"{pod} {bridge}", "given to itself, it sees another caller"

        node.apply(replace(here, affinity=60, external_local=True))
        assert ask_sctp(NODE, here.cluster_ip) == f"{pod} {bridge}"
        assert ask_sctp(CLIENT, node_ip, 30080) == f"{pod} {client}", "the caller's address is kept"

        node.apply(replace(here, protocol="TCP"))
        assert ask_sctp(NODE, here.cluster_ip) == "", "the same port of another protocol"


@contextmanager
def six_answers() -> Iterator[None]:
    """IPv6 in all namespaces, and a server at the endpoint of SIX."""
    add_ipv6()
    code = SERVER.replace(
        "class Handler",
        "import socket\nhttp.server.ThreadingHTTPServer.address_family = socket.AF_INET6\nclass Handler",
    )
    command = ["ip", "netns", "exec", POD, sys.executable, "-c", code, "fd00:244::2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            server.terminate()


UDP = """
import socket, sys
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 8080))
print("ready", flush=True)
while True:
    _, caller = server.recvfrom(100)
    server.sendto(sys.argv[1].encode(), caller)
"""
ASK = """
import socket, sys
client = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
client.connect((sys.argv[1], 80))
for line in sys.stdin:
    client.send(b"?")
    try:
        print(client.recv(100).decode(), flush=True)
    except TimeoutError:
        print("nobody", flush=True)
"""


@contextmanager
def asking_by_udp(address: str, servers: Mapping[str, str]) -> Iterator[Callable[[], str]]:
    """A client on the node that asks over one flow; gives who answers each time. ``servers`` are addresses by pod."""
    with ExitStack() as undo:

        def program(where: str, code: str, *arguments: str) -> "subprocess.Popen[str]":
            command = ["ip", "netns", "exec", where, sys.executable, "-c", code, *arguments]
            found = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            undo.enter_context(found)
            undo.callback(found.kill)
            return found

        for name, ip in servers.items():
            server = program(name, UDP, ip)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        client = program(NODE, ASK, address)

        def answered() -> str:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write("\n")
            client.stdin.flush()
            return client.stdout.readline().strip()

        yield answered


@pytest.mark.parametrize(
    ("mode", "address"),
    [
        using("iptables", "10.96.0.20"),
        using("iptables", "fd00:96::20"),
        using("ipvs", "10.96.0.20"),
        using("ipvs", "fd00:96::20"),
        using("nftables", "10.96.0.20"),
        using("nftables", "fd00:96::20"),
    ],
)
@pytest.mark.usefixtures("network")
def test_a_udp_client_is_taken_from_an_endpoint_that_no_longer_serves(mode: str, address: str) -> None:
    first, second = WEB.endpoints
    if ":" in address:
        add_ipv6()
        first, second = replace(first, ip="fd00:244::2"), replace(second, ip="fd00:244::3")
    dns = replace(WEB, service="names", protocol="UDP", cluster_ip=address, node_port=0, endpoints=(first,))
    node = InNode(mode, DUAL)
    node.apply(dns)
    with asking_by_udp(address, {POD: first.ip, OTHER: second.ip}) as answered:
        before = answered()
        gone = replace(dns, endpoints=(replace(first, ready=False, serving=False), second))
        node.apply(gone)
        kept = answered()
        node.forget_stale([gone])
        after = answered()
        node.drop(gone)
        stays = answered()
        node.forget_stale([], [gone])
        end = answered()

    # A real server that is gone gets nothing any more, known flow or not.
    assert (before, after) == (first.ip, second.ip)
    assert kept == first.ip or mode == "ipvs"
    # Nor does the service itself answer once it is gone.
    assert end == "nobody"
    assert stays == second.ip or mode == "ipvs"


@pytest.mark.usefixtures("network")
def test_node_ports_answer_at_the_loopback_address_and_what_is_called_there_is_counted() -> None:
    node = InNode("iptables", replace(SETTINGS, localhost_node_ports=True))
    node.prepare()
    node.apply(WEB)

    assert ask(NODE, "127.0.0.1", 30080).split(" ")[0] in {"10.244.1.2", "10.244.1.3"}
    assert ask(CLIENT, "192.0.2.1", 30080)
    assert node.told("kubeproxy_iptables_localhost_nodeports_accepted_packets_total") == 1

    with reachable_loopback() as port:
        assert knock(NODE, "127.0.0.1", port) == "open"
        assert knock(CLIENT, "127.0.0.1", port) == "silence", "routed to there, and not let in"

    without = InNode("iptables")
    without.prepare()
    without.apply(WEB)
    assert ask(NODE, "127.0.0.1", 30080) == ""

    node.remove()
    assert not left_of("KUBE-")
    assert node.told("kubeproxy_iptables_localhost_nodeports_accepted_packets_total") is None


@contextmanager
def reachable_loopback() -> Iterator[int]:
    """A server at the node's loopback address alone, and a client that sends its packets for that to the node."""
    sh(f"ip netns exec {CLIENT} sysctl -qw net.ipv4.conf.all.route_localnet=1")
    sh(f"ip -n {CLIENT} addr del 127.0.0.1/8 dev lo")
    sh(f"ip -n {CLIENT} route add 127.0.0.1/32 via 192.0.2.1")
    code = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    command = ["ip", "netns", "exec", NODE, sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.mark.usefixtures("network")
def test_packets_of_no_connection_are_dropped_and_counted() -> None:
    node = InNode("iptables")
    node.prepare()
    node.apply(WEB)
    name = "kubeproxy_iptables_ct_state_invalid_dropped_packets_total"
    assert node.told(name) == 0

    send_acknowledgement(CLIENT, "10.244.1.2", 8080)

    assert node.told(name) == 1


def send_acknowledgement(where: str, address: str, port: int) -> None:
    """A segment of TCP that acknowledges and resets at once, which no connection may begin with."""
    code = (
        "import socket, struct\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)\n"
        f"s.connect(({address!r}, 0)); here = s.getsockname()[0]\n"
        f"segment = struct.pack('!HHIIBBHHH', 40000, {port}, 1, 1, 0x50, 0x14, 1024, 0, 0)\n"
        f"pseudo = socket.inet_aton(here) + socket.inet_aton({address!r}) + struct.pack('!BBH', 0, 6, 20)\n"
        "total = sum(struct.unpack(f'!{(len(pseudo + segment)) // 2}H', pseudo + segment))\n"
        "total = (total >> 16) + (total & 0xFFFF); total += total >> 16\n"
        "s.send(segment[:16] + struct.pack('!H', ~total & 0xFFFF) + segment[18:])\n"
    )
    sh_python(where, code)


def sh_python(where: str, code: str) -> None:
    command = ["ip", "netns", "exec", where, sys.executable, "-c", code]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.mark.usefixtures("network")
def test_iptables_tells_how_many_rules_it_has_and_wrote() -> None:
    node = InNode("iptables")
    node.prepare()
    node.apply(WEB, replace(WEB, service="other", cluster_ip="10.96.0.26", node_port=0))
    labels = {"ip_family": "IPv4", "table": "nat"}
    total, last = (f"kubeproxy_sync_proxy_rules_iptables_{name}" for name in ("total", "last"))

    def written() -> int:
        command = ["ip", "netns", "exec", NODE, "iptables-save", "-t", "nat"]
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
        return found.count("\n-A KUBE-")

    assert node.told(total, labels) == node.told(last, labels) == written()

    node.apply(replace(WEB, endpoints=()))
    assert node.told(total, labels) == written()
    assert node.told(last, labels) == 1, "the other service's in the chain that both share"

    failures = [
        f"kubeproxy_sync_proxy_rules_iptables_{kind}restore_failures_total" for kind in ("partial_", "")
    ]
    before = [node.told(name, {"ip_family": "IPv4"}) or 0 for name in failures]
    with pytest.raises(CannotApply):
        node.apply(replace(WEB, port=99999))
    assert [node.told(name, {"ip_family": "IPv4"}) for name in failures] == [count + 1 for count in before]


def saved_rules() -> list[str]:
    command = ["ip", "netns", "exec", NODE, "iptables-save"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return sorted(line for line in found.splitlines() if line.startswith("-A KUBE-"))


@pytest.mark.usefixtures("network")
def test_iptables_of_many_services_are_written_in_several_runs_and_edited_afterwards() -> None:
    many = [
        replace(
            WEB, service=f"s{n}", cluster_ip=f"10.96.{n // 15 + 1}.{n % 15 * 16 + 10}", node_port=31000 + n
        )
        for n in range(max(2 * AT_ONCE, LONG) + 150)
    ]
    InNode("iptables").apply(*many[:120], replace(WEB, service="gone", cluster_ip="10.96.0.11"))

    node = InNode("iptables")
    node.prepare()
    node.apply(*many[50:], WEB)

    assert node.is_intact()
    assert not traces("iptables", replace(WEB, service="gone"))
    assert ask(CLIENT, many[-1].cluster_ip)
    assert ask(CLIENT, many[60].cluster_ip)
    assert node.apply(*many[50:], WEB) == 0

    for changed in (
        replace(WEB, node_port=0),
        replace(WEB, endpoints=()),
        WEB,
        replace(WEB, cluster_ip="10.96.0.26"),
    ):
        assert 0 < node.apply(changed) < 30, "a long chain is not written anew"
    node.drop(many[70])
    assert ask(CLIENT, "10.96.0.26")
    assert knock(CLIENT, "10.96.0.10") != "open"
    assert not traces("iptables", many[70])
    edited = saved_rules()
    node.kernel.forget()
    node.apply()
    assert edited == saved_rules()


@pytest.mark.usefixtures("network")
def test_iptables_gives_packets_addresses_of_other_nodes_endpoints_and_none_gets_its_own_call() -> None:
    node = InNode("iptables")
    away = replace(WEB, endpoints=AWAY)
    node.apply(away)

    assert not left_of("KUBE-SEP-")
    assert {ask(NODE, "10.96.0.10").split(" ")[0] for _ in range(12)} == {one.ip for one in AWAY}
    assert ask(CLIENT, "10.96.0.10").split(" ")[1] == "10.244.1.1", "masqueraded"

    node.apply(replace(away, external_local=True))
    # Pods call this node from outside as any endpoint's may do, and keep their address but for the one that calls itself.
    assert {ask(POD, "192.0.2.1", 30080) for _ in range(12)} == {
        "10.244.1.3 10.244.1.2",
        "10.244.1.2 10.244.1.1",
    }


def of_before(ports: Sequence[ServicePort]) -> str:
    """What a release of before wrote: a chain for each endpoint, and all services in one."""
    lines = ["*nat", ":KUBE-SERVICES - [0:0]", ":KUBE-MARK-MASQ - [0:0]", ":KUBE-POSTROUTING - [0:0]"]
    lines += [
        "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
        "-A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE",
    ]
    lines += [f"-I {chain} {rule}" for where, chain, rule in JUMPS if where == "nat"]
    for port in ports:
        service, where = chain_of("SVC", port), f"-d {port.cluster_ip}/32 -p tcp -m tcp --dport 80"
        lines += [f":{service} - [0:0]", f"-A KUBE-SERVICES {where} -j {service}"]
        lines.append(f"-A {service} ! -s 10.244.0.0/16 {where} -j KUBE-MARK-MASQ")
        for one, chance in zip(
            port.endpoints, ("-m statistic --mode random --probability 0.5 ", ""), strict=True
        ):
            chain = endpoint_chain(port, one)
            lines += [f":{chain} - [0:0]", f"-A {service} {chance}-j {chain}"]
            lines.append(f"-A {chain} -s {one.ip}/32 -j KUBE-MARK-MASQ")
            lines.append(f"-A {chain} -p tcp -m tcp -j DNAT --to-destination {one.address}")
    return "\n".join([*lines, "COMMIT", ""])


@pytest.mark.usefixtures("network")
def test_chains_that_a_release_of_before_had_for_each_endpoint_go_and_no_call_fails_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = [
        replace(WEB, service=f"s{n}", cluster_ip=f"10.96.1.{n + 1}", node_port=0, endpoints=AWAY)
        for n in range(AT_ONCE + 20)
    ]
    command = ["ip", "netns", "exec", NODE, "iptables-restore", "--noflush"]
    subprocess.run(command, check=True, input=of_before(many), text=True, timeout=60)
    assert len(left_of(":KUBE-SEP-")) == 2 * len(many)
    write, told = tables.write, [ask(CLIENT, many[0].cluster_ip)]

    async def asking(family: Family, text: str) -> None:
        await write(family, text)
        told.append(ask(CLIENT, many[0].cluster_ip))

    monkeypatch.setattr(tables, "write", asking)
    node = InNode("iptables")
    node.apply(*many)

    assert len(told) > 4
    assert {one.partition(" ")[2] for one in told} == {"10.244.1.1"}, told
    assert not left_of("KUBE-SEP-")
    assert node.is_intact()
