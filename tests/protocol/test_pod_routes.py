"""Routes and the VXLAN device in a real kernel, in a network namespace of the test's own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest

from kybern.cni.netlink import Kernel, NoLink
from kybern.cni.plan import RemoveRoute, Route, ServiceRoute, SetRoute
from kybern.cni.sync import apply_all

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]
ME, PODS = IPv4Address("192.0.2.1"), (IPv4Network("10.244.1.0/24"), ip_network("fd00:244:0:1::/64"))
NEAR = Route(IPv4Network("10.244.2.0/24"), IPv4Address("192.0.2.2"))
FAR = Route(IPv4Network("10.244.3.0/24"), IPv4Address("10.244.3.0"), IPv4Address("198.51.100.3"))

NEAR6 = Route(ip_network("fd00:244:0:2::/64"), ip_address("fd00:42::2"))
FAR6 = Route(ip_network("fd00:244:0:3::/64"), ip_address("fd00:244:0:3::"), IPv4Address("198.51.100.3"))


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """The kernel as seen from a fresh namespace with one link, which this thread enters."""
    name = f"kybern-routes-{os.getpid()}"
    ip("netns", "add", name)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        os.setns(inside, os.CLONE_NEWNET)
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
        ip("addr", "add", f"{ME}/24", "dev", "eth0")
        ip("addr", "add", "fd00:42::1/64", "dev", "eth0", "nodad")
        ip("link", "set", "eth0", "up")
        ip("link", "set", "other", "up")
        ip("route", "add", "10.99.0.0/16", "via", "192.0.2.9")
        with Kernel() as found:
            yield found
    finally:
        os.setns(before, os.CLONE_NEWNET)
        os.close(before)
        os.close(inside)
        ip("netns", "del", name)


def test_routes_come_and_go_and_others_are_left_alone(kernel: Kernel) -> None:
    kernel.apply(SetRoute(NEAR), ME, PODS)
    kernel.apply(SetRoute(NEAR), ME, PODS)
    assert kernel.routes() == {NEAR}

    kernel.apply(RemoveRoute(NEAR), ME, PODS)
    kernel.apply(RemoveRoute(NEAR), ME, PODS)
    assert kernel.routes() == frozenset()
    assert "10.99.0.0/16" in ip("route")


def test_a_node_that_tells_an_address_of_nobody_keeps_no_other_from_its_route(kernel: Kernel) -> None:
    impossible = Route(IPv4Network("10.244.0.0/24"), IPv4Address("192.0.2.255"))

    refused = apply_all(kernel, [SetRoute(impossible), SetRoute(NEAR), SetRoute(FAR)], ME, PODS)

    assert len(refused) == 1
    assert kernel.routes() == {NEAR, FAR}


def test_a_far_node_is_reached_through_the_tunnel(kernel: Kernel) -> None:
    kernel.apply(SetRoute(FAR), ME, PODS)

    assert kernel.routes() == {FAR}
    assert "10.244.3.0/24 via 10.244.3.0 dev kybern-vxlan proto 75 onlink" in ip("route")
    assert (
        "dst 198.51.100.3"
        in subprocess.run(
            ["bridge", "fdb", "show", "dev", "kybern-vxlan"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
    )


def test_of_a_far_node_that_goes_nothing_stays_in_the_tunnel(kernel: Kernel) -> None:
    def known() -> tuple[int, int]:
        forwarded = subprocess.run(
            ["bridge", "fdb", "show", "dev", "kybern-vxlan"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
        neighbours = ip("neigh", "show", "dev", "kybern-vxlan", "nud", "permanent")
        return len(neighbours.splitlines()), forwarded.count("dst 198.51.100.3")

    other = Route(IPv4Network("10.244.4.0/24"), IPv4Address("10.244.4.0"), IPv4Address("198.51.100.4"))
    for one in (FAR, FAR6, other):
        kernel.apply(SetRoute(one), ME, PODS)
    assert known() == (3, 1)
    kernel.apply(RemoveRoute(FAR), ME, PODS)
    assert known() == (2, 1), "its other family goes on"
    assert kernel.routes() == {FAR6, other}
    # It is on our link now.
    kernel.apply(SetRoute(Route(FAR6.network, ip_address("fd00:42::2"))), ME, PODS)
    assert known() == (1, 0)
    kernel.apply(SetRoute(FAR), ME, PODS)
    assert known() == (2, 1)
    kernel.apply(RemoveRoute(FAR), ME, PODS)
    kernel.apply(RemoveRoute(FAR), ME, PODS)
    assert known() == (1, 0)


def test_an_address_that_is_on_no_link_is_named(kernel: Kernel) -> None:
    with pytest.raises(NoLink, match=r"203\.0\.113\.9"):
        kernel.link(IPv4Address("203.0.113.9"))


def test_ways_of_ipv6_stand_beside_those_of_ipv4(kernel: Kernel) -> None:
    for one in (NEAR, NEAR6, FAR, FAR6, FAR6, NEAR6):
        kernel.apply(SetRoute(one), ME, PODS)

    assert kernel.routes() == {NEAR, NEAR6, FAR, FAR6}
    assert "fd00:244:0:3::/64 via fd00:244:0:3:: dev kybern-vxlan proto 75" in ip("-6", "route")
    assert "inet6 fd00:244:0:1::/128" in ip("addr", "show", "dev", "kybern-vxlan")

    moved = Route(NEAR6.network, ip_address("fd00:42::3"))
    kernel.apply(SetRoute(moved), ME, PODS)
    kernel.apply(RemoveRoute(FAR6), ME, PODS)
    assert kernel.routes() == {NEAR, moved, FAR}


@pytest.mark.parametrize(
    ("network", "source", "printed"),
    [
        ("10.96.0.0/12", "192.0.2.1", "10.96.0.0/12 dev eth0 proto 76 scope link src 192.0.2.1"),
        ("fd00:96::/112", "fd00:42::1", "fd00:96::/112 dev eth0 proto 76 src fd00:42::1"),
        ("fd00:96::/112", "", "fd00:96::/112 dev eth0 proto 76"),
    ],
)
def test_services_have_a_way_of_their_own(kernel: Kernel, network: str, source: str, printed: str) -> None:
    _, index, _ = kernel.link(ME)
    route = ServiceRoute(ip_network(network), index, ip_address(source) if source else None)

    kernel.add_service_route(route)
    kernel.add_service_route(route)

    assert kernel.service_routes() == {route}
    assert kernel.routes() == frozenset(), "no route to a node"
    assert printed in ip(f"-{route.network.version}", "route")

    kernel.remove_service_route(route)
    kernel.remove_service_route(route)
    assert kernel.service_routes() == frozenset()


def test_somebody_else_s_way_to_the_services_stays(kernel: Kernel) -> None:
    ip("-6", "route", "add", "fd00:96::/112", "via", "fd00:42::9")
    _, index, _ = kernel.link(ME)

    kernel.add_service_route(ServiceRoute(ip_network("fd00:96::/112"), index, None))

    assert "fd00:96::/112 via fd00:42::9" in ip("-6", "route")


def test_a_link_is_found_by_an_address_of_either_family(kernel: Kernel) -> None:
    assert str(kernel.link(ip_address("fd00:42:0::1"))[0]) == "fd00:42::1/64"
    assert str(kernel.link(ME)[0]) == "192.0.2.1/24"
