"""Policies in a real kernel: what comes through is what the API's words allow, whatever changes, in both ways to bridge."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from kybern.netfilter.programs import run
from kybern.policies.kernel import Kernel
from kybern.policies.model import Model
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.nftables import Nftables
from kybern.proxy.rules import Settings
from tests.protocol import sctp
from tests.protocol.policies_bed import FAR, NODE, OUTSIDE, POD_A, POD_B, Agents, in_node, inside, network
from tests.unit.policies.judge import Packet, World, allowed
from tests.unit.policies.worlds import Node, a_pod, a_policy

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(one) for one in ("ip", "nft")),
        reason="needs root, iproute2 and nftables",
    ),
]
A, B, HERE = "10.244.1.2", "10.244.1.3", "10.244.1.1"
A6, B6 = "fd00:244:1::2", "fd00:244:1::3"
AWAY, STRANGER, OTHER = "10.244.2.2", "192.0.2.2", "192.0.2.3"
NETWORKS = (ip_network("10.244.1.0/24"), ip_network("fd00:244:1::/64"))
ALL: list[Any] = [{}]
TCP = [{"port": 80}]


@pytest.fixture(params=["bridge-nf-call", "frames"])
def agents(request: pytest.FixtureRequest) -> Iterator[Agents]:
    """Both ways in which packets between pods of one node are seen: by br_netfilter, and by our own table of the bridge."""
    with network() as found:
        for name in ("iptables", "ip6tables"):
            value = int(request.param == "bridge-nf-call")
            in_node(f"sysctl -qw net.bridge.bridge-nf-call-{name}={value}")
            assert in_node(f"cat /proc/sys/net/bridge/bridge-nf-call-{name}").strip() == str(value)
        found.where |= {A: POD_A, A6: POD_A, B: POD_B, B6: POD_B, AWAY: FAR, STRANGER: OUTSIDE, HERE: NODE}
        yield found


class Bed(Node):
    """A node whose kernel is the real one; the test's own changes go through ``put``."""

    def __init__(self, agents: Agents) -> None:
        super().__init__("n1", NETWORKS)
        self.real, self.agents, self.world = Kernel(), agents, World()
        for name, labels in (("x", {"team": "x"}), ("y", {"team": "y"})):
            self.put("namespace", name, labels)
        self.put("pod", ("x", "a"), a_pod("x", "a", {"app": "a"}, (A, A6), ports=[("web", "TCP", 80)]))
        self.put("pod", ("y", "b"), a_pod("y", "b", {"app": "b"}, (B, B6), ports=[("web", "TCP", 81)]))
        self.put("pod", ("y", "far"), a_pod("y", "far", {"app": "far"}, (AWAY,), node="n2"))

    def put(self, kind: str, key: Any, raw: Any) -> None:
        held: Any = {
            "namespace": self.world.namespaces,
            "pod": self.world.pods,
            "policy": self.world.policies,
        }[kind]
        held.pop(key, None)
        if raw is not None:
            held[key] = raw
        getattr(self, f"put_{kind}")(key, raw)

    def policy(self, name: str, selector: Any, *rest: Any, namespace: str = "x", **more: Any) -> None:
        self.put("policy", (namespace, name), a_policy(namespace, name, selector, *rest, **more))

    def write(self) -> int:
        self.model.settle()
        return inside(self.real.apply(self.model))

    def restart(self) -> None:
        """A daemon that knows nothing comes after this one."""
        self.real, self.model = Kernel(), Model("n1", NETWORKS)
        self.learn_all()

    def learn_all(self) -> None:
        for kind in ("namespace", "pod", "policy"):
            held: Any = {
                "namespace": self.world.namespaces,
                "pod": self.world.pods,
                "policy": self.world.policies,
            }[kind]
            for key, raw in held.items():
                getattr(self, f"put_{kind}")(key, raw)

    def check(self, what: str) -> set[Packet]:
        """Write, then knock everywhere from everywhere: open where the API's words allow it, and nowhere else."""
        self.write()
        ends = [(one, other) for one in (A, B, AWAY, STRANGER) for other in (A, B, AWAY) if one != other]
        ends += [(A6, B6), (B6, A6)]
        packets = [
            Packet(one, other, *kind)
            for one, other in ends
            if {one, other} & {A, B, A6, B6}
            for kind in (("TCP", 80), ("TCP", 81), ("UDP", 80))
        ]
        found = self.agents.open(packets)
        assert found == {one for one in packets if allowed(self.world, one)}, what
        # The node reaches its own pods whatever is said.
        probes = [Packet(HERE, A), Packet(HERE, B), Packet(HERE, A, "UDP")]
        assert self.agents.open(probes) == set(probes), what
        return found


def test_what_comes_through_is_what_policies_allow_after_every_change(agents: Agents) -> None:
    bed = Bed(agents)
    assert len(bed.check("no policy")) == 30
    assert "kybern-policies" not in in_node("nft list tables"), "nothing is in the way"

    bed.policy("deny", {}, [])
    bed.check("nobody may enter x")
    bed.policy("deny", {}, [], [], types=["Ingress", "Egress"])
    bed.check("nor leave it")
    bed.policy(
        "some",
        {"matchLabels": {"app": "a"}},
        [{"from": [{"namespaceSelector": {"matchLabels": {"team": "y"}}}]}],
    )
    assert Packet(AWAY, A) in bed.check("pods of y may enter")
    bed.put("namespace", "y", {"team": "z"})
    assert Packet(AWAY, A) not in bed.check("y has another label")
    bed.put("namespace", "y", {"team": "y"})
    bed.check("and back")

    both = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "far"}}}
    bed.policy("some", {}, [{"from": [both], "ports": TCP}], [{"to": [both], "ports": [{"port": "web"}]}])
    bed.check("one pod, one port; on the way out a name that it does not have")
    bed.put("pod", ("y", "far"), a_pod("y", "far", {"app": "other"}, (AWAY,), node="n2"))
    bed.check("that pod has another label")
    bed.put("pod", ("y", "b"), a_pod("y", "b", {"app": "far"}, (B, B6), ports=[("web", "TCP", 81)]))
    assert Packet(A, B, port=81) in bed.check("another pod has the label, and the name for a port")


def test_a_daemon_that_comes_after_another_goes_on_and_takes_all_away_in_the_end(agents: Agents) -> None:
    bed = Bed(agents)
    bed.policy("some", {}, [{"from": [{"podSelector": {}}]}])
    bed.write()

    bed.restart()
    bed.check("a daemon that has just begun")
    blocks = [
        {"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.2.0/24"]}},
        {"ipBlock": {"cidr": "fd00:244::/32"}},
    ]
    bed.policy(
        "some",
        {},
        [{"from": blocks, "ports": [{"port": 80, "endPort": 90}, {"protocol": "UDP"}]}],
        [{"to": blocks}],
    )
    bed.check("ranges of addresses and of ports")
    bed.policy("out", {}, None, [{"to": blocks[:1]}], namespace="y", types=["Egress"])
    bed.check("y may not leave for everywhere either")
    bed.policy("some", {}, [{"ports": [{"protocol": "SCTP", "port": 80}]}])
    bed.check("isolated by a rule for SCTP")
    bed.policy("all", {}, ALL, ALL, types=["Ingress", "Egress"])
    bed.check("policies add up")

    for key in tuple(bed.world.policies):
        bed.put("policy", key, None)
    bed.check("all gone")
    assert "kybern-policies" not in in_node("nft list tables")


def test_sctp_comes_through_where_a_rule_names_it(agents: Agents) -> None:
    bed = Bed(agents)
    with ExitStack() as undo:
        for name, address in ((POD_A, A), (POD_A, A6), (POD_B, B)):
            command = ["ip", "netns", "exec", name, sys.executable, sctp.__file__, "serve", address, "80"]
            server = undo.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            undo.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"

        def check(what: str) -> set[Packet]:
            bed.write()
            packets = [
                Packet(B, A, "SCTP"),
                Packet(AWAY, A, "SCTP"),
                Packet(A, B, "SCTP"),
                Packet(B6, A6, "SCTP"),
            ]
            found = {one for one in packets if _answers_sctp(agents.where[one.source], one)}
            assert found == {one for one in packets if allowed(bed.world, one)}, what
            return found

        assert len(check("no policy")) == 4
        bed.policy("in", {}, [{"ports": [{"port": 80}]}])
        check("a rule for TCP")
        bed.policy("in", {}, [{"ports": [{"port": 79, "endPort": 80, "protocol": "SCTP"}]}])
        assert len(check("a rule for SCTP")) == 4
        bed.policy("in", {}, [{"ports": [{"port": 81, "protocol": "SCTP"}]}])
        check("another port")
        bed.policy(
            "in",
            {},
            [
                {
                    "from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "far"}}}],
                    "ports": [{"protocol": "SCTP"}],
                }
            ],
        )
        assert Packet(AWAY, A, "SCTP") in check("one peer, any port")
        bed.put("pod", ("y", "b"), a_pod("y", "b", {"app": "b"}, (B, B6), ports=[("sig", "SCTP", 80)]))
        bed.policy("in", {}, ALL, [{"ports": [{"port": "sig", "protocol": "SCTP"}]}], types=["Egress"])
        assert Packet(A, B, "SCTP") in check("a name, on the way out")


def _answers_sctp(where: str, packet: Packet) -> bool:
    command = ["ip", "netns", "exec", where, sys.executable, sctp.__file__, "ask"]
    command += [packet.destination, str(packet.port)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return bool(done.stdout.strip())


def test_what_is_connected_stays_and_what_is_new_does_not_begin(agents: Agents) -> None:
    bed = Bed(agents)
    bed.policy("web", {}, [{"from": [{"namespaceSelector": {}}]}])
    bed.write()
    code = (
        "import socket, sys\n"
        f"c = socket.create_connection(({A!r}, 80), 3)\n"
        "for line in sys.stdin:\n c.send(b'x'); print(c.recv(1), flush=True)\n"
    )
    command = ["ip", "netns", "exec", POD_B, sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None

        def still() -> bool:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write("\n")
            client.stdin.flush()
            return client.stdout.readline() == "b'x'\n"

        assert still()
        bed.policy("web", {}, [])
        bed.write()
        assert still()
        bed.restart()
        bed.write()
        assert still()
        assert agents.open([Packet(B, A)]) == set()
        client.kill()


def test_services_are_judged_by_the_pod_behind_them_and_callers_by_their_own_address(agents: Agents) -> None:
    bed = Bed(agents)
    web = ServicePort(
        "x", "web", "http", "TCP", 80, "10.96.0.10", node_port=30080, external_local=True,
        endpoints=(Endpoint(A, 81, local=True),),
    )  # fmt: skip
    proxy = Nftables(Settings(pod_cidr="10.244.0.0/16"))
    proxy.settle(("192.0.2.1",))
    proxy.put(("x", "web"), [web])
    inside(proxy.apply())
    by_service = [Packet(one, "10.96.0.10") for one in (A, B, HERE)] + [
        Packet(STRANGER, "192.0.2.1", port=30080)
    ]
    bed.policy("a", {}, [{"from": [{"ipBlock": {"cidr": f"{STRANGER}/32"}}], "ports": [{"port": 81}]}])
    bed.write()
    assert agents.open(by_service) == {by_service[0], by_service[2], by_service[3]}, (
        "itself, the node, who is named"
    )

    bed.policy("a", {}, [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 81}]}])
    bed.write()
    assert agents.open(by_service) == set(by_service[:3])

    bed.policy("a", {}, [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 80}]}])
    bed.write()
    assert agents.open(by_service) == {by_service[0], by_service[2]}, (
        "80 is the service's port, not the pod's"
    )
    bed.put("policy", ("x", "a"), None)
    bed.policy("b", {}, None, [{"to": [{"podSelector": {}}]}], namespace="y", types=["Egress"])
    bed.write()
    assert by_service[1] not in agents.open(by_service), "egress, too"


def test_a_pod_that_starts_is_isolated_before_its_address_is_known(agents: Agents) -> None:
    bed = Bed(agents)
    bed.put("pod", ("x", "a"), None)
    bed.policy("deny", {}, [], [], types=["Ingress", "Egress"])
    bed.write()
    both = [Packet(A, B), Packet(B, A)]
    assert agents.open(both) == set(both), "nobody knows of a pod"

    bed.put("pod", ("x", "a"), a_pod("x", "a", {"app": "a"}, phase="Pending"))
    bed.write()
    assert agents.open(both) == set()
    assert agents.open([Packet(HERE, A), Packet(AWAY, B)]) == {Packet(HERE, A), Packet(AWAY, B)}

    bed.put("pod", ("x", "a"), a_pod("x", "a", {"app": "a"}, (A, A6)))
    bed.check("known")


def test_rules_that_somebody_removed_are_missed_and_a_foreign_table_is_nobody_s_business(
    agents: Agents,
) -> None:
    bed = Bed(agents)
    bed.policy("deny", {}, [])
    bed.write()
    assert inside(bed.real.is_intact())

    in_node("nft add table inet somebody")
    assert inside(bed.real.is_intact())

    in_node("nft flush table inet kybern-policies")
    assert not inside(bed.real.is_intact())
    bed.real.forget()
    bed.check("written again")
    assert "table inet somebody" in in_node("nft list tables")

    inside(bed.real.remove())
    assert "kybern-policies" not in in_node("nft list tables")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_flush_right_beside_a_write_of_ours_is_noticed(
    agents: Agents, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others write while our program runs: after we asked how often rules were changed, and before we ask again."""
    bed = Bed(agents)
    bed.policy("deny", {}, [])
    bed.write()

    async def beside(*command: str, stdin: str = "") -> str:
        flush = ("nft", "flush", "chain", "inet", "kybern-policies", "forward")
        if stdin and when == "before":
            await run(*flush)
        said = await run(*command, stdin=stdin)
        if stdin and when == "after":
            await run(*flush)
        return said

    bed.policy("allow", {}, ALL)
    with monkeypatch.context() as patch:
        patch.setattr("kybern.policies.kernel.run", beside)
        assert bed.write() > 0
    assert not inside(bed.real.is_intact())

    bed.real.forget()
    bed.check("written again")


def test_after_our_own_changes_no_program_is_asked(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(agents)
    for name, rules in (("deny", []), ("allow", ALL), ("deny", ALL)):
        bed.policy(name, {}, rules)
        assert bed.write() > 0
        with monkeypatch.context() as patch:
            patch.setenv("PATH", "")
            assert inside(bed.real.is_intact())


def test_frames_are_shown_again_after_everything_was_flushed(agents: Agents) -> None:
    bed = Bed(agents)
    bed.policy("deny", {}, [])
    bed.write()
    has_frames = "table bridge kybern-policies" in in_node("nft list tables")

    in_node("nft delete table bridge kybern-policies")
    assert inside(bed.real.is_intact()) is not has_frames

    in_node("nft flush ruleset")
    assert not inside(bed.real.is_intact())
    bed.real.forget()
    assert Packet(B, A) not in bed.check("written again")


def test_addresses_move_from_pod_to_pod(agents: Agents) -> None:
    bed = Bed(agents)
    bed.policy(
        "a", {"matchLabels": {"app": "a"}}, [{"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}]
    )
    bed.check("only c may call a")

    old = a_pod("y", "b", {"app": "b"}, (B, B6), phase="Succeeded")
    bed.put("pod", ("y", "b"), old)
    bed.put("pod", ("x", "c"), a_pod("x", "c", {"app": "c"}, (B, B6)))
    assert Packet(B, A) in bed.check("c has the address of one that ended")

    bed.put("pod", ("x", "c"), a_pod("x", "c", {"app": "d"}, (B, B6)))
    assert Packet(B, A) not in bed.check("and other labels now")
    assert replace(Packet(B, A), port=81) not in agents.open([Packet(B, A, port=81)])
