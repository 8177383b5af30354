"""What each part of a policy means, one sentence of the API at a time: the rules and the oracle both say it."""

from ipaddress import ip_network
from typing import Any

import pytest

from kybern.policies.rules import Ranges, without
from tests.unit.policies.judge import Packet, World, allowed
from tests.unit.policies.worlds import Node, a_pod, a_policy, nodes_of, passes

A, B, C, FAR, OUT, A6, B6 = "10.1.0.1", "10.1.0.2", "10.1.0.3", "10.2.0.1", "192.0.2.1", "fd00::1", "fd00::2"
X = {"matchLabels": {"app": "a"}}
FROM_B = {"podSelector": {"matchLabels": {"app": "b"}}}
Y = {"namespaceSelector": {"matchLabels": {"team": "y"}}}


def world(*policies: Any) -> World:
    found = World({"x": {"team": "x"}, "y": {"team": "y"}})
    for pod in (
        a_pod("x", "a", {"app": "a"}, (A, A6), ports=[("web", "TCP", 8080), ("dns", "UDP", 53)]),
        a_pod("x", "b", {"app": "b"}, (B, B6), ports=[("web", "TCP", 9090)]),
        a_pod("y", "c", {"app": "b"}, (C,)),
        a_pod("y", "far", {"app": "far"}, (FAR,), node="n2"),
        a_pod("x", "host", {"app": "a"}, ("10.0.0.9",), host=True),
    ):
        found.pods[pod["metadata"]["namespace"], pod["metadata"]["name"]] = pod
    for policy in policies:
        found.policies["x", policy["metadata"]["name"]] = policy
    return found


def ingress(*rules: Any, selector: Any = X, name: str = "p") -> Any:
    return a_policy("x", name, selector, list(rules))


def egress(*rules: Any, selector: Any = X) -> Any:
    return a_policy("x", "p", selector, None, list(rules), ["Egress"])


def block(cidr: str, *excepts: str) -> Any:
    return {"ipBlock": {"cidr": cidr, **({"except": list(excepts)} if excepts else {})}}


def tcp(port: Any = None, **more: Any) -> Any:
    return {"ports": [{"port": port, **more} if port else more]}


CASES = [
    ("no policy, no isolation", [], Packet(OUT, A), True),
    ("an empty list of rules lets nobody in", [ingress()], Packet(B, A), False),
    ("other pods are not selected", [ingress()], Packet(A, B), True),
    ("an empty selector is for all pods of the namespace", [ingress(selector={})], Packet(A, B), False),
    ("and of no other namespace", [ingress(selector={})], Packet(A, C), True),
    ("ingress says nothing of egress", [ingress()], Packet(A, OUT), True),
    ("a pod always reaches itself", [ingress(), egress()], Packet(A, A), True),
    ("an empty rule lets everybody in", [ingress({})], Packet(OUT, A, "SCTP", 5), True),
    ("pods of the same namespace", [ingress({"from": [FROM_B]})], Packet(B, A), True),
    ("not of another one", [ingress({"from": [FROM_B]})], Packet(C, A), False),
    ("all pods of a namespace", [ingress({"from": [Y]})], Packet(FAR, A), True),
    ("and no others", [ingress({"from": [Y]})], Packet(B, A), False),
    ("both selectors in one peer must match", [ingress({"from": [{**Y, **FROM_B}]})], Packet(C, A), True),
    ("here they do not", [ingress({"from": [{**Y, **FROM_B}]})], Packet(FAR, A), False),
    ("two peers are either", [ingress({"from": [Y, FROM_B]})], Packet(B, A), True),
    ("an empty namespace selector is for all", [ingress({"from": [{"namespaceSelector": {}}]})], Packet(C, A), True),
    ("but for nobody outside", [ingress({"from": [{"namespaceSelector": {}}]})], Packet(OUT, A), False),
    ("a block", [ingress({"from": [block("192.0.2.0/24")]})], Packet(OUT, A), True),
    ("but for what it excepts", [ingress({"from": [block("192.0.2.0/24", "192.0.2.0/30")]})], Packet(OUT, A), False),
    ("which another block of it allows",
     [ingress({"from": [block("0.0.0.0/0", "192.0.2.0/24"), block("192.0.2.1/32")]})], Packet(OUT, A), True),
    ("everybody of a version", [ingress({"from": [block("0.0.0.0/0")]})], Packet(OUT, A), True),
    ("and of no other version", [ingress({"from": [block("0.0.0.0/0")]})], Packet(B6, A6), False),
    ("IPv6", [ingress({"from": [block("fd00::/64", "fd00::3/128")]})], Packet(B6, A6), True),
    ("a port", [ingress(tcp(80))], Packet(B, A), True),
    ("no other port", [ingress(tcp(80))], Packet(B, A, port=81), False),
    ("no other protocol", [ingress(tcp(80))], Packet(B, A, "UDP"), False),
    ("SCTP is not TCP", [ingress(tcp(80, protocol="SCTP"))], Packet(B, A), False),
    ("a range, its last", [ingress(tcp(80, endPort=90))], Packet(B, A, port=90), True),
    ("a range, past it", [ingress(tcp(80, endPort=90))], Packet(B, A, port=91), False),
    ("a protocol without a port", [ingress(tcp(protocol="UDP"))], Packet(B, A, "UDP", 7), True),
    ("a name is the called pod's port", [ingress(tcp("web"))], Packet(B, A, port=8080), True),
    ("of that protocol", [ingress(tcp("dns"))], Packet(B, A, port=53), False),
    ("a name that it has not", [ingress(tcp("other"))], Packet(B, A, port=8080), False),
    ("on the way out it is each peer's own", [egress(tcp("web"))], Packet(A, B, port=9090), True),
    ("not one's own", [egress(tcp("web"))], Packet(A, B, port=8080), False),
    ("nor of who is no pod", [egress(tcp("web"))], Packet(A, OUT, port=9090), False),
    ("peers and a port", [ingress({"from": [FROM_B], **tcp(80)})], Packet(C, A), False),
    ("policies add up", [ingress(), ingress(tcp(80), name="q")], Packet(B, A), True),
    ("who may leave must be let in", [egress({}), ingress(name="q", selector=FROM_B["podSelector"])], Packet(A, B), False),
    ("a pod on the host's network is not isolated", [ingress()], Packet(B, "10.0.0.9"), True),
    ("and is no pod to others", [ingress({"from": [{"podSelector": {}}]})], Packet("10.0.0.9", A), False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policies", "packet", "passed"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_a_policy_means(policies: list[Any], packet: Packet, passed: bool) -> None:
    found = world(*policies)

    assert allowed(found, packet) == passed
    assert passes(nodes_of(found), packet) == passed


def test_pods_with_equal_rules_share_a_chain_and_rules_with_equal_peers_a_set() -> None:
    found = world(
        ingress({"from": [Y]}, selector={}), a_policy("x", "q", {}, None, [{"to": [Y]}], ["Egress"])
    )
    (node,) = nodes_of(found, ("n1",))

    chains = {name for name in node.kernel.chains if "-" in name and "starting" not in name}
    assert len(chains) == 2, "a and b, each way"
    assert len([name for name in node.kernel.sets if name.startswith("peers-")]) == 2, (
        "one for each version of IP"
    )


def test_a_change_of_one_peer_is_one_element() -> None:
    found = world(ingress({"from": [FROM_B]}))
    (node,) = nodes_of(found, ("n1",))

    node.put_pod(("x", "new"), a_pod("x", "new", {"app": "b"}, ("10.1.0.77",), node="n2"))
    node.model.settle()

    (line,) = node.model.table.changes().splitlines()
    assert line.startswith("add element inet kybern-policies peers-")
    assert line.endswith("{ 10.1.0.77 }")


def test_while_an_isolated_pod_has_no_address_unknown_ones_of_this_node_are_shut_out() -> None:
    node = Node("n1", (ip_network("10.1.0.0/24"),))
    node.put_policy(("x", "p"), ingress())
    node.put_pod(("x", "a"), a_pod("x", "a", {"app": "a"}))
    node.put_pod(("x", "b"), a_pod("x", "b", {"app": "b"}, (B,)))
    node.settle()
    assert not node.kernel.passes(Packet(OUT, A))
    assert node.kernel.passes(Packet(A, OUT)), "only ingress is isolated"
    assert node.kernel.passes(Packet(OUT, B)), "known"
    assert node.kernel.passes(Packet(OUT, FAR)), "another node's"

    node.put_pod(("x", "a"), a_pod("x", "a", {"app": "a"}, (C,)))
    node.settle()
    assert node.kernel.passes(Packet(OUT, A))
    assert not node.kernel.passes(Packet(OUT, C))


@pytest.mark.parametrize(
    ("excepts", "left"),
    [
        ((), [(1, 9)]),
        (((1, 1),), [(2, 9)]),
        (((9, 9),), [(1, 8)]),
        (((0, 4), (6, 20)), [(5, 5)]),
        (((3, 3), (5, 6)), [(1, 2), (4, 4), (7, 9)]),
        (((1, 9),), []),
        (((10, 12),), [(1, 9)]),
    ],
)
def test_what_is_left_of_a_range(excepts: Ranges, left: list[tuple[int, int]]) -> None:
    assert list(without(1, 9, excepts)) == left
