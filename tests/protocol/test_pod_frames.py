"""A Service whose endpoint is on the caller's own node, in a kernel that shows its rules what passes a bridge, or not."""

import os
import shutil
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from kybern.cni.frames import Frames
from kybern.netfilter.programs import run
from tests.protocol.policies_bed import POD_A, Agents, in_node, inside, network
from tests.unit.policies.judge import Packet

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(one) for one in ("ip", "nft")),
        reason="needs root, iproute2 and nftables",
    ),
]
A, B, SERVICE = "10.244.1.2", "10.244.1.3", "10.96.0.5"
PODS = (ip_network("10.244.1.0/24"),)
RULES = f"""
table ip services {{
    chain turned {{
        type nat hook prerouting priority dstnat;
        ip daddr {SERVICE} tcp dport 80 dnat to {B}:80
    }}
}}
"""


@pytest.fixture
def agents() -> Iterator[Agents]:
    with network() as found:
        found.where |= {A: POD_A}
        inside(run("nft", "-f", "-", stdin=RULES))
        yield found


def shown(to: int) -> None:
    for name in ("iptables", "ip6tables"):
        in_node(f"sysctl -qw net.bridge.bridge-nf-call-{name}={to}")


def answers(agents: Agents) -> bool:
    return bool(agents.open([Packet(A, SERVICE, "TCP", 80)]))


def test_the_bridge_hands_up_what_the_rules_would_not_see(agents: Agents) -> None:
    shown(0)
    assert not answers(agents), "without help this kernel must not answer: else the test shows nothing"
    before = in_node("ip -br link show cni0").split()[2]

    frames = Frames()
    inside(frames.apply(PODS, 1500))
    assert answers(agents)
    inside(frames.apply(PODS, 1500))
    assert answers(agents)
    assert in_node("ip -br link show cni0").split()[2] == before

    shown(1)
    inside(frames.apply(PODS, 1500))
    assert "kybern-pod-network" not in in_node("nft list tables")
    assert answers(agents)


def test_the_bridge_is_there_before_the_first_pod_and_keeps_its_address(agents: Agents) -> None:
    shown(0)
    in_node("ip link del cni0")
    inside(Frames().apply(PODS, 1400))
    hardware = in_node("ip -br link show cni0").split()[2]

    assert "mtu 1400" in in_node("ip link show cni0")

    # A link with a lower address would else give it to the bridge.
    in_node("ip link add low type veth peer name lower")
    in_node("ip link set low address 02:00:00:00:00:01 master cni0 up")
    assert "master cni0" in in_node("ip link show low")

    assert in_node("ip -br link show cni0").split()[2] == hardware
    assert hardware in in_node("nft list table bridge kybern-pod-network")
