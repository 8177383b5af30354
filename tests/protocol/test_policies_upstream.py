"""The cases of upstream's own suite (test/e2e/network/netpol/network_policy.go of v1.36), with real packets, case by case.

Upstream has pods a, b and c in each of the namespaces x, y and z, and compares a table of who reaches whom with what it says
itself. So it is here: what is expected stands with the case and comes from no other code. x/a and x/b are on the node, the
others behind it; so rows are of pairs of which the node has one.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from kybern.policies.kernel import Kernel
from tests.protocol.policies_bed import FAR, POD_A, POD_B, Agents, in_node, inside, network, sh
from tests.unit.policies.judge import Packet
from tests.unit.policies.worlds import Node, a_pod, a_policy

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(one) for one in ("ip", "nft")),
        reason="needs root, iproute2 and nftables",
    ),
]
HERE = {"x/a": "10.244.1.2", "x/b": "10.244.1.3"}
THERE = {
    "x/c": "10.244.2.13",
    "y/a": "10.244.2.21",
    "y/b": "10.244.2.22",
    "z/a": "10.244.2.31",
    "z/c": "10.244.2.33",
}
ADDRESSES = HERE | THERE
NAME = "kubernetes.io/metadata.name"
PORTS = {"TCP": (80, 81), "UDP": (80,)}
# Names that upstream's servers give to their ports.
NAMED = [("serve-80-tcp", "TCP", 80), ("serve-81-tcp", "TCP", 81), ("serve-80-udp", "UDP", 80)]
BOTH = ["Ingress", "Egress"]

type Expected = Callable[[str, str, str, int], bool]
"""Whether a pod reaches another by a protocol at a port."""


def pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


def named(*namespaces: str) -> dict[str, Any]:
    """Namespaces by name; all for none."""
    expressions = [{"key": NAME, "operator": "In", "values": list(namespaces)}] if namespaces else []
    return {"namespaceSelector": {"matchExpressions": expressions}}


def others_than(namespace: str) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchExpressions": [{"key": NAME, "operator": "NotIn", "values": [namespace]}]}
    }


def block(cidr: str, *but: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, **({"except": list(but)} if but else {})}}


def policy(on: str = "", ingress: Any = None, egress: Any = None, types: Any = None) -> dict[str, Any]:
    """In namespace x, on the pods with a label pod, "" for all."""
    selector = {"matchLabels": {"pod": on}} if on else {}
    usual = [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None]
    return dict(a_policy("x", "", selector, ingress, egress, types or usual))


def into(*targets: str, only: tuple[str, ...] = (), ports: tuple[tuple[str, int], ...] = ()) -> Expected:
    """All reach all, but of the targets only who is named, at the ports that are named: all of them for none."""

    def expected(source: str, target: str, protocol: str, port: int) -> bool:
        if target not in targets:
            return True
        return source in only and (not ports or (protocol, port) in ports)

    return expected


def outof(*sources: str, only: tuple[str, ...] = (), ports: tuple[tuple[str, int], ...] = ()) -> Expected:
    def expected(source: str, target: str, protocol: str, port: int) -> bool:
        if source not in sources:
            return True
        return target in only and (not ports or (protocol, port) in ports)

    return expected


def at_all(*parts: Expected) -> Expected:
    return lambda *asked: all(part(*asked) for part in parts)


ALL, X, Y, Z = tuple(ADDRESSES), ("x/a", "x/b", "x/c"), ("y/a", "y/b"), ("z/a", "z/c")


@dataclass(frozen=True)
class Case:
    """``then`` are changes and what is expected after each; a policy None goes."""

    title: str
    policies: Mapping[str, dict[str, Any]]
    expected: Expected
    then: tuple[tuple[Mapping[str, Any], Expected], ...] = field(default=())


ANY_PEER: dict[str, Any] = {"namespaceSelector": {}, "podSelector": {}}
OPEN: Expected = into()
CASES = (
    Case("default-deny-ingress", {"deny": policy("", [])}, into("x/a", "x/b")),
    Case("default-deny-all", {"deny": policy("", [], [])}, at_all(into(*X), outof(*HERE))),
    Case("allow-all", {"all": policy("", [{}])}, OPEN),
    Case(
        "from pods by podSelector",
        {"p": policy("a", [{"from": [pods(pod="b")]}])},
        into("x/a", only=("x/b",)),
    ),
    Case(
        "ingress for a target of a namespace that is closed",
        {"deny": policy("", []), "p": policy("a", [{"from": [ANY_PEER]}])},
        into("x/b"),
    ),
    Case("from pods of all namespaces", {"p": policy("a", [{"from": [named()]}])}, OPEN),
    Case("from another namespace alone", {"p": policy("a", [{"from": [named("y")]}])}, into("x/a", only=Y)),
    Case(
        "by podSelector with matchExpressions",
        {
            "p": policy(
                "a",
                [
                    {
                        "from": [
                            {
                                "podSelector": {
                                    "matchExpressions": [{"key": "pod", "operator": "In", "values": ["b"]}]
                                }
                            }
                        ]
                    }
                ],
            )
        },
        into("x/a", only=("x/b",)),
    ),
    Case(
        "by podSelector or namespaceSelector",
        {"p": policy("a", [{"from": [others_than("x"), pods(pod="b")]}])},
        into("x/a", only=(*Y, *Z, "x/b")),
    ),
    Case(
        "by podSelector and namespaceSelector",
        {"p": policy("a", [{"from": [others_than("x") | pods(pod="b")]}])},
        into("x/a", only=("y/b",)),
    ),
    Case(
        "by several podSelectors and namespaceSelectors",
        {
            "p": policy(
                "a",
                [
                    {
                        "from": [
                            named("y", "z")
                            | {
                                "podSelector": {
                                    "matchExpressions": [
                                        {"key": "pod", "operator": "In", "values": ["b", "c"]}
                                    ]
                                }
                            }
                        ]
                    }
                ],
            )
        },
        into("x/a", only=("y/b", "z/c")),
    ),
    Case(
        "by any of several podSelectors",
        {"p": policy("a", [{"from": [pods(pod="b"), pods(pod="c")]}])},
        into("x/a", only=("x/b", "x/c")),
    ),
    Case(
        "from a namespace at one port",
        {
            "p": policy("a", [{"from": [named("y")], "ports": [{"port": 81, "protocol": "TCP"}]}]),
        },
        into("x/a", only=Y, ports=(("TCP", 81),)),
    ),
    Case(
        "policies that add up",
        {
            "one": policy("a", [{"from": [named("y")], "ports": [{"port": 81, "protocol": "TCP"}]}]),
            "two": policy("a", [{"from": [named("y")], "ports": [{"port": 80, "protocol": "TCP"}]}]),
        },
        into("x/a", only=Y, ports=(("TCP", 80), ("TCP", 81))),
    ),
    Case(
        "several policies, one of which lets all in",
        {"one": policy("a", [{"ports": [{"port": 80, "protocol": "TCP"}]}])},
        into("x/a", only=ALL, ports=(("TCP", 80),)),
        (({"all": policy("a", [{}])}, OPEN),),
    ),
    Case(
        "several policies, one of which lets all out",
        {"one": policy("a", egress=[{"ports": [{"port": 80, "protocol": "TCP"}]}])},
        outof("x/a", only=ALL, ports=(("TCP", 80),)),
        (({"all": policy("a", egress=[{}])}, OPEN),),
    ),
    Case(
        "on a named port",
        {"p": policy("a", [{"ports": [{"port": "serve-81-tcp"}]}])},
        into("x/a", only=ALL, ports=(("TCP", 81),)),
    ),
    Case(
        "from a namespace on a named port",
        {
            "p": policy("a", [{"from": [named("y")], "ports": [{"port": "serve-80-tcp"}]}]),
        },
        into("x/a", only=Y, ports=(("TCP", 80),)),
    ),
    Case(
        "egress on a named port",
        {"p": policy("a", egress=[{"ports": [{"port": "serve-80-tcp"}]}])},
        outof("x/a", only=ALL, ports=(("TCP", 80),)),
    ),
    Case(
        "a policy that is changed",
        {"p": policy("", [])},
        into("x/a", "x/b"),
        (({"p": policy("", [{}])}, OPEN), ({"p": policy("", [], [])}, at_all(into(*X), outof(*HERE)))),
    ),
    Case(
        "a namespace that gets the label, and loses it",
        {"p": policy("a", [{"from": [{"namespaceSelector": {"matchLabels": {"ns2": "updated"}}}]}])},
        into("x/a"),
        (
            ({"namespace y": {NAME: "y", "ns2": "updated"}}, into("x/a", only=Y)),
            ({"namespace y": {NAME: "y"}}, into("x/a")),
        ),
    ),
    Case(
        "a pod that gets the label, and loses it",
        {"p": policy("a", [{"from": [pods(pod2="updated")]}])},
        into("x/a"),
        (
            ({"pod x/b": {"pod": "b", "pod2": "updated"}}, into("x/a", only=("x/b",))),
            ({"pod x/b": {"pod": "b"}}, into("x/a")),
        ),
    ),
    Case(
        "a pod that comes to be chosen",
        {"p": dict(a_policy("x", "", {"matchLabels": {"target": "isolated"}}, [], None, ["Ingress"]))},
        OPEN,
        (({"pod x/a": {"pod": "a", "target": "isolated"}}, into("x/a")), ({"pod x/a": {"pod": "a"}}, OPEN)),
    ),
    Case(
        "nothing from other namespaces",
        {"p": policy("", [{"from": [{"podSelector": {}}]}])},
        into("x/a", "x/b", only=X),
    ),
    Case(
        "egress to a pod of another namespace",
        {
            "p": policy("a", egress=[{"to": [named("y") | pods(pod="a")]}]),
        },
        outof("x/a", only=("y/a",)),
    ),
    Case("no egress from one pod", {"p": policy("a", egress=[])}, outof("x/a")),
    Case("no egress from a namespace", {"p": policy("", egress=[])}, outof(*HERE)),
    Case(
        "ingress and egress of one pod",
        {"p": policy("a", [{"ports": [{"port": 80, "protocol": "TCP"}]}], [{"to": [pods(pod="b")]}])},
        at_all(into("x/a", only=ALL, ports=(("TCP", 80),)), outof("x/a", only=("x/b",))),
    ),
    Case(
        "ingress and egress each by its own policy: both ends have to agree",
        {"out": policy("a", egress=[{"to": [pods(pod="b")]}]), "in": policy("b", [])},
        at_all(outof("x/a", only=("x/b",)), into("x/b")),
        (
            (
                {"in": policy("b", [{"from": [pods(pod="a")]}])},
                at_all(outof("x/a", only=("x/b",)), into("x/b", only=("x/a",))),
            ),
        ),
    ),
    Case(
        "policies that are taken away",
        {"deny": policy("", [], [])},
        at_all(into(*X), outof(*HERE)),
        (({"deny": None}, OPEN),),
    ),
    Case(
        "egress to a block",
        {"p": policy("a", egress=[{"to": [block("10.244.2.21/32")]}])},
        outof("x/a", only=("y/a",)),
    ),
    Case(
        "egress to a block but for a part",
        {
            "p": policy("a", egress=[{"to": [block("10.244.2.0/24", "10.244.2.16/29")]}]),
        },
        outof("x/a", only=("x/c", *Z)),
    ),
    Case(
        "an address that one policy leaves out and another lets in",
        {"p": policy("a", egress=[{"to": [block("10.244.2.0/24", "10.244.2.21/32")]}])},
        outof("x/a", only=("x/c", "y/b", *Z)),
        (({"q": policy("a", egress=[{"to": [block("10.244.2.21/32")]}])}, outof("x/a", only=tuple(THERE))),),
    ),
    Case(
        "a rule for UDP lets no TCP in",
        {"p": policy("a", [{"ports": [{"port": 80, "protocol": "UDP"}]}])},
        into("x/a", only=ALL, ports=(("UDP", 80),)),
    ),
    Case(
        "a rule for SCTP lets no TCP in",
        {"p": policy("a", [{"ports": [{"port": 80, "protocol": "SCTP"}]}])},
        into("x/a"),
    ),
    Case(
        "a rule for SCTP at a port range isolates, too",
        {
            "p": policy("a", [{"ports": [{"port": 1, "endPort": 65535, "protocol": "SCTP"}]}]),
        },
        into("x/a"),
    ),
    Case(
        "any port of a protocol",
        {"p": policy("a", [{"ports": [{"protocol": "UDP"}]}])},
        into("x/a", only=ALL, ports=(("UDP", 80),)),
    ),
    Case(
        "a range of ports",
        {"p": policy("a", egress=[{"ports": [{"port": 81, "endPort": 82, "protocol": "TCP"}]}])},
        outof("x/a", only=ALL, ports=(("TCP", 81),)),
    ),
)


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    with network() as found:
        in_node("sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1")
        for address in THERE.values():
            sh(f"ip -n {FAR} addr add {address}/24 dev eth0")
        places = {"x/a": POD_A, "x/b": POD_B}
        found.where = {address: places.get(name, FAR) for name, address in ADDRESSES.items()}
        yield found


class Bed(Node):
    """Upstream's namespaces and pods, and a kernel that is real."""

    def __init__(self) -> None:
        super().__init__("n1")
        self.real = Kernel()
        for name in ("x", "y", "z"):
            self.put_namespace(name, {NAME: name})
        for name in ADDRESSES:
            self.label(name, {"pod": name[2:]})

    def label(self, name: str, labels: dict[str, str]) -> None:
        key, node = (name[0], name[2:]), "n1" if name in HERE else "n2"
        self.put_pod(key, None)
        self.put_pod(key, a_pod(*key, labels, (ADDRESSES[name],), node=node, ports=NAMED))

    def change(self, what: str, content: Any) -> None:
        kind, _, name = what.rpartition(" ")
        match kind:
            case "namespace":
                self.put_namespace(name, content)
            case "pod":
                self.label(name, content)
            case _:
                self.put_policy(("x", name), None)
                if content is not None:
                    self.put_policy(("x", name), content | {"metadata": {"namespace": "x", "name": name}})

    def write(self) -> None:
        self.model.settle()
        inside(self.real.apply(self.model))


def asked() -> Iterator[tuple[str, str, str, int]]:
    for source, target in product(ADDRESSES, ADDRESSES):
        # Calls to oneself are left open by the API, and by upstream's suite.
        if source == target or not {source, target} & set(HERE):
            continue
        for protocol, ports in PORTS.items():
            # Those behind the node are one machine, which answers datagrams from its first address.
            if protocol == "TCP" or target in HERE:
                yield from ((source, target, protocol, port) for port in ports)


def reached(agents: Agents) -> set[tuple[str, str, str, int]]:
    names = {address: name for name, address in ADDRESSES.items()}
    packets = [
        Packet(ADDRESSES[source], ADDRESSES[target], protocol, port)
        for source, target, protocol, port in asked()
    ]
    found = agents.open(packets)
    return {(names[one.source], names[one.destination], one.protocol, one.port) for one in found}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_case_of_upstream_s_suite(case: Case, agents: Agents) -> None:
    bed = Bed()
    try:
        for changes, expected in ((case.policies, case.expected), *case.then):
            for what, content in changes.items():
                bed.change(what, content)
            bed.write()
            assert reached(agents) == {one for one in asked() if expected(*one)}, sorted(changes)
    finally:
        in_node("nft delete table inet kybern-policies")
    assert "kybern-policies" not in in_node("nft list tables")
