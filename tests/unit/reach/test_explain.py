"""One hop wrong at a time: the finding names it, on its node, in its words. And nothing wrong: no hop is blamed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kybern.reach.explain import Names, Path, explain
from kybern.reach.probes import CUT, NO_NAME, Place, Probe, Result, Way
from kybern.reach.seen import VXLAN, Seen, drops
from tests.unit.reach.test_probes import ONE, TWO

LINKS: Mapping[str, Any] = {
    "cni0": {"ifname": "cni0", "ifindex": 3, "flags": ["UP"]},
    "veth1": {"ifname": "veth1", "ifindex": 7, "flags": ["UP"], "master": "cni0"},
}
RULES = """
-A POSTROUTING -j KYBERN-PODS
-A KYBERN-PODS -j MASQUERADE --random-fully
[0:0] -A KYBERN-INPUT -j DROP
-A KUBE-SERVICES -d 10.96.0.6/32 -p tcp -m comment --comment "ns/to-two:http" -m tcp --dport 80 -j KUBE-SVC-A
-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "dns" -m udp --dport 53 -j KUBE-SVC-B
-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.2.3:8080
-A KUBE-SEP-B -p udp -m udp -j DNAT --to-destination 192.0.2.1:53
"""
UNITS = {"kubelet": "active", "kube-proxy": "active", "kybern-pod-network": "active"}
GOOD = {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"}


def plain(to: str, through: str = "") -> dict[str, Any]:
    return {"dst": to, "dev": "eth0", **({"gateway": through} if through else {})}


HERE = Seen(
    links=LINKS,
    addresses={"10.244.1.1": "cni0", "192.0.2.1": "eth0"},
    sysctls=GOOD,
    routes={
        "10.244.2.3": plain("10.244.2.3", "192.0.2.2"),
        "192.0.2.2": plain("192.0.2.2"),
        "192.0.2.254": plain("192.0.2.254"),
    },
    neighbours={"192.0.2.2": "REACHABLE"},
    iptables=RULES,
    drops=drops(RULES, ""),
    units=UNITS,
    peers={"c1": 7},
)
THERE = replace(
    HERE,
    addresses={"10.244.2.1": "cni0", "192.0.2.2": "eth0"},
    routes={"10.244.1.2": plain("10.244.1.2", "192.0.2.1"), "192.0.2.1": plain("192.0.2.1")},
    peers={"s2": 7},
)
AT = {Way.NODE: "192.0.2.2", Way.POD: "10.244.2.3", Way.SERVICE: "10.96.0.6", Way.NAME: "to-two.ns"}
NAMES = Names("10.96.0.10", ("192.0.2.1",), {"one": "active"})


def path(
    way: Way, here: Seen = HERE, there: Seen = THERE, error: str = "no answer", names: Names = NAMES
) -> Path:
    target = None if way is Way.OUTSIDE else TWO
    probe = Probe(way, "one", "two" if target else "192.0.2.254", AT.get(way, "192.0.2.254"), 80)
    return Path(Result(probe, error), ONE, target, here, there, HERE, THERE, names)


def linked(seen: Seen, name: str, **change: Any) -> Seen:
    """A link that is otherwise; gone when its ``ifindex`` is 0."""
    links = {**seen.links, name: {**seen.links[name], **change}}
    return replace(seen, links={key: one for key, one in links.items() if one["ifindex"]})


TUNNELLED = replace(
    HERE,
    links={**LINKS, VXLAN: {"ifname": VXLAN, "ifindex": 9, "flags": ["UP"]}},
    routes={"10.244.2.3": {"dev": VXLAN, "gateway": "10.244.2.0"}},
    neighbours={"10.244.2.0": "PERMANENT"},
    tunnels=frozenset({"192.0.2.2"}),
)
NO_DNAT = replace(HERE, iptables=RULES.replace("10.244.2.3:8080", "10.244.2.9:8080"))
NO_RULE = replace(HERE, iptables=RULES.replace("10.96.0.6/32", "10.96.0.7/32"))
GROWN = "iptables -A KYBERN-INPUT -j DROP"


@pytest.mark.parametrize(
    ("failed", "hop", "node", "words"),
    [
        (path(Way.POD, linked(HERE, "veth1", ifindex=0)), "pod veth", "one", "is gone"),
        (
            path(Way.POD, linked(HERE, "veth1", flags=[])),
            "pod veth",
            "one",
            "veth1 of pod 10.244.1.2 is down",
        ),
        (path(Way.POD, linked(HERE, "veth1", master="br9")), "pod veth", "one", "not on the bridge cni0"),
        (path(Way.POD, there=linked(THERE, "veth1", flags=[])), "pod veth", "two", "veth1 of pod 10.244.2.3"),
        (path(Way.POD, linked(HERE, "cni0", flags=[])), "bridge", "one", "cni0 is down"),
        (path(Way.POD, linked(HERE, "cni0", ifindex=0)), "bridge", "one", "cni0 is missing"),
        (path(Way.POD, replace(HERE, addresses={})), "bridge", "one", "has no address"),
        (
            path(Way.POD, replace(HERE, sysctls={"net.ipv4.ip_forward": "0"})),
            "forwarding",
            "one",
            "ip_forward is 0",
        ),
        (path(Way.POD, replace(HERE, routes={"10.244.2.3": {}})), "route", "one", "no route to 10.244.2.3"),
        (
            path(Way.POD, replace(HERE, routes={"10.244.2.3": plain("", "192.0.2.254")})),
            "route",
            "one",
            "leads through 192.0.2.254, not through 192.0.2.2",
        ),
        (
            path(Way.POD, replace(HERE, neighbours={"192.0.2.2": "FAILED"})),
            "route",
            "one",
            "192.0.2.2 does not",
        ),
        (path(Way.POD, replace(TUNNELLED, links=LINKS)), "route", "one", "kybern-vxlan is missing or down"),
        (path(Way.POD, replace(TUNNELLED, neighbours={})), "route", "one", "hardware address of 10.244.2.0"),
        (
            path(Way.POD, replace(TUNNELLED, tunnels=frozenset())),
            "route",
            "one",
            "no entry that leads to 192.0.2.2",
        ),
        (
            path(Way.POD, there=replace(THERE, routes={"10.244.1.2": {}})),
            "route back",
            "two",
            "no route to 10.244.1.2",
        ),
        (path(Way.POD, there=replace(THERE, drops={GROWN: 4})), "firewall", "two", "-j DROP (4 packets)"),
        (path(Way.NODE, there=replace(THERE, drops={GROWN: 4})), "firewall", "two", "-j DROP (4 packets)"),
        (path(Way.NODE, there=Seen(answered=False)), "machine", "two", "does not answer by SSH"),
        (
            path(Way.NODE, there=replace(THERE, units={"kubelet": "failed"})),
            "endpoint",
            "two",
            "the kubelet does not run (failed)",
        ),
        (path(Way.SERVICE, NO_RULE), "service", "one", "no rule for 10.96.0.6:80/tcp (its unit is active)"),
        (path(Way.SERVICE, NO_DNAT), "service", "one", "lack the endpoint 10.244.2.3:8080"),
        (path(Way.SERVICE, linked(HERE, "veth1", flags=[])), "pod veth", "one", "is down"),
        (path(Way.NAME, NO_DNAT), "service", "one", "lack the endpoint 10.244.2.3:8080"),
        (path(Way.NAME, error=NO_NAME, names=Names()), "service", "one", "kube-system/kube-dns is missing"),
        (path(Way.NAME, error=NO_NAME, names=Names("10.96.0.10")), "service", "one", "has no endpoints"),
        (
            path(Way.NAME, error=NO_NAME, names=replace(NAMES, endpoints=("192.0.2.1", "192.0.2.3"))),
            "service",
            "one",
            "lack the endpoint 192.0.2.3:53",
        ),
        (
            path(Way.NAME, error=NO_NAME, names=replace(NAMES, daemons={"one": "failed"})),
            "name server",
            "one",
            "kybern-dns does not run on one (failed)",
        ),
        (
            path(Way.OUTSIDE, replace(HERE, iptables=RULES.replace("-j KYBERN-PODS", ""))),
            "masquerade",
            "one",
            "nothing leads from POSTROUTING",
        ),
        (
            path(Way.OUTSIDE, replace(HERE, iptables=RULES.replace("-j MASQUERADE", "-j RETURN"))),
            "masquerade",
            "one",
            "does not masquerade",
        ),
        (
            path(Way.OUTSIDE, replace(HERE, routes={"192.0.2.254": {}})),
            "route",
            "one",
            "no route to 192.0.2.254",
        ),
    ],
)
def test_the_first_finding_is_the_hop_that_is_wrong(failed: Path, hop: str, node: str, words: str) -> None:
    first = explain(failed)[0]

    assert (first.hop, first.node) == (hop, node), first
    assert words in first.text


@pytest.mark.parametrize("way", list(Way))
def test_when_all_hops_are_right_none_is_blamed(way: Way) -> None:
    assert [one.hop for one in explain(path(way))] == ["between"]


def test_what_was_not_seen_is_not_blamed() -> None:
    blind = Seen()

    for way in (Way.POD, Way.SERVICE, Way.NODE):
        failed = replace(path(way), here=blind, there=blind, before_here=blind, before_there=blind)
        assert [one.hop for one in explain(failed)] == ["between"], way


def test_the_rules_of_the_other_backend_count_as_well() -> None:
    nft = "elements = { 10.96.0.6 . tcp . 80 : goto tcp-pick-1 } 10.96.0.6 . 80 . 0 : 10.244.2.3 . 8080"

    assert [one.hop for one in explain(path(Way.SERVICE, replace(HERE, iptables="", nft=nft)))] == ["between"]
    without = replace(HERE, iptables="", nft=nft.replace("10.96.0.6 . tcp", "10.96.0.7 . tcp"))
    assert explain(path(Way.SERVICE, without))[0].hop == "service"


def test_a_service_of_the_caller_s_own_node_needs_frames_to_pass_the_rules() -> None:
    off = replace(
        HERE,
        sysctls={"net.ipv4.ip_forward": "1"},
        routes={"10.244.1.3": {"dev": "cni0"}},
        peers={"c1": 7, "s1": 7},
        iptables=RULES.replace("10.96.0.6/", "10.96.0.5/").replace("10.244.2.3:", "10.244.1.3:"),
    )
    failed = Path(
        Result(Probe(Way.SERVICE, "one", "one", "10.96.0.5", 80), "x"), ONE, ONE, off, off, off, off
    )

    assert [one.hop for one in explain(failed)] == ["bridge netfilter"]
    packets = replace(off, nft="table bridge kybern-policies {")
    assert [one.hop for one in explain(replace(failed, here=packets))] == ["between"]


SIX_ONE = Place(
    "one", "fd00:42::1", "c1", "fd00:244:1::2", "s1", "fd00:244:1::3", "fd00:96::5", ONE.name, "", 6, ONE.address
)  # fmt: skip
SIX_TWO = replace(
    SIX_ONE, node="two", address="fd00:42::2", asker="c2", server="s2", server_ip="fd00:244:2::3",
    service_ip="fd00:96::6", outer=TWO.address,
)  # fmt: skip
RULES6 = """
-A POSTROUTING -j KYBERN-PODS
-A KYBERN-PODS -j MASQUERADE --random-fully
-A KUBE-SERVICES -d fd00:96::6/128 -p tcp -m comment --comment "ns/to-two:http" -m tcp --dport 80 -j KUBE-SVC-A
-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination [fd00:244:2::3]:8080
"""
HERE6 = replace(
    HERE,
    addresses={"10.244.1.1": "cni0", "fe80::1": "cni0", "fd00:244:1::1": "cni0"},
    sysctls={"net.ipv6.conf.all.forwarding": "1", "net.bridge.bridge-nf-call-ip6tables": "1"},
    routes={
        "fd00:244:2::3": plain("fd00:244:2::3", "fd00:42::2"),
        "fd00:42::2": plain("fd00:42::2"),
        "2001:db8::9": plain("2001:db8::9"),
    },
    neighbours={"fd00:42::2": "REACHABLE"},
    ip6tables=RULES6,
)
THERE6 = replace(HERE6, routes={"fd00:244:1::2": plain("fd00:244:1::2", "fd00:42::1")}, peers={"s2": 7})
TUNNELLED6 = replace(
    HERE6,
    links=TUNNELLED.links,
    routes={"fd00:244:2::3": {"dev": VXLAN, "gateway": "fd00:244:2::"}},
    neighbours={"fd00:244:2::": "PERMANENT"},
    tunnels=TUNNELLED.tunnels,
)


def six(way: Way, here: Seen = HERE6) -> Path:
    target = None if way is Way.OUTSIDE else SIX_TWO
    probe = Probe(way, "one", "two" if target else "2001:db8::9", "2001:db8::9", 80, 6)
    return Path(Result(probe, "no answer"), SIX_ONE, target, here, THERE6, HERE6, THERE6, NAMES)


@pytest.mark.parametrize(
    ("failed", "hop", "words"),
    [
        *((six(way), "between", "") for way in Way),
        (six(Way.POD, TUNNELLED6), "between", ""),
        (
            six(Way.POD, replace(HERE6, addresses={"10.244.1.1": "cni0", "fe80::1": "cni0"})),
            "bridge",
            "has no address of IPv6",
        ),
        (
            six(Way.POD, replace(HERE6, sysctls={"net.ipv6.conf.all.forwarding": "0"})),
            "forwarding",
            "net.ipv6.conf.all.forwarding is 0",
        ),
        (
            six(Way.POD, replace(TUNNELLED6, tunnels=frozenset())),
            "route",
            "no entry that leads to 192.0.2.2",
        ),
        (six(Way.SERVICE, replace(HERE6, ip6tables=RULES)), "service", "no rule for [fd00:96::6]:80/tcp"),
        (
            six(Way.SERVICE, replace(HERE6, ip6tables=RULES6.replace("2::3]:8080", "2::9]:8080"))),
            "service",
            "lack the endpoint [fd00:244:2::3]:8080",
        ),
        (
            six(Way.OUTSIDE, replace(HERE6, ip6tables=RULES6.replace("-j KYBERN-PODS", ""))),
            "masquerade",
            "nothing leads from POSTROUTING",
        ),
    ],
)
def test_a_way_of_ipv6_is_judged_by_its_own_addresses_routes_and_rules(
    failed: Path, hop: str, words: str
) -> None:
    first = explain(failed)[0]

    assert first.hop == hop, first
    assert words in first.text


def test_large_packets_that_are_lost_between_the_machines_are_told_apart() -> None:
    (found,) = explain(path(Way.POD, error=CUT))

    assert (found.hop, found.node) == ("between", "one")
    assert "lower the MTU" in found.text
    (dropped,) = explain(path(Way.POD, replace(HERE, drops={GROWN: 3}), error=CUT))
    assert dropped.hop == "firewall", "what is seen comes first"
