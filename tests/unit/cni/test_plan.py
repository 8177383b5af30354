"""Which routes a node needs."""

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import Node, NodeAddress, NodeSpec, NodeStatus
from kybern.api.meta_v1 import ObjectMeta
from kybern.cni import conflist
from kybern.cni.plan import (
    Address,
    RemoveRoute,
    Route,
    ServiceRoute,
    SetRoute,
    diff,
    hardware_address,
    wanted,
    wanted_services,
)

LINK = IPv4Interface("10.42.0.11/24")


def node(name: str, address: str = "", *cidrs: str) -> Node:
    """``address`` may be several, divided by commas; without any the kubelet has not told it yet."""
    addresses = [NodeAddress(type="InternalIP", address=one) for one in address.split(",") if one]
    told = (NodeAddress(type="Hostname", address=name), *addresses) if addresses else ()
    kept = tuple(one for one in cidrs if one)
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(pod_cidr=kept[0] if kept else "", pod_cidrs=kept),
        status=NodeStatus(addresses=told),
    )


def route(network: str, gateway: str, tunnel: str = "") -> Route:
    return Route(ip_network(network), ip_address(gateway), IPv4Address(tunnel) if tunnel else None)


def test_a_node_on_the_same_link_is_reached_directly_and_any_other_through_the_tunnel() -> None:
    nodes = [
        node("me", "10.42.0.11", "10.244.0.0/24"),
        node("near", "10.42.0.12", "10.244.1.0/24"),
        node("far", "10.43.0.12", "10.244.2.0/24"),
    ]

    assert wanted(nodes, "me", [LINK], [4]) == {
        route("10.244.1.0/24", "10.42.0.12"),
        route("10.244.2.0/24", "10.244.2.0", tunnel="10.43.0.12"),
    }


@pytest.mark.parametrize("told", ["", "?", "node.example", "10.42.0", "fe80::1%eth0", "10.42.0.12/24"])
def test_what_a_kubelet_tells_that_is_no_address_counts_as_nothing(told: str) -> None:
    strange = node("b", f"{told},10.42.0.12", "10.244.1.0/24")

    assert wanted([strange], "me", [LINK], [4]) == {route("10.244.1.0/24", "10.42.0.12")}
    assert wanted([node("b", told, "10.244.1.0/24")], "me", [LINK], [4]) == frozenset()


def test_a_node_without_address_or_network_has_no_route_yet() -> None:
    assert wanted([node("a", "10.42.0.12"), node("b", "", "10.244.1.0/24")], "me", [LINK], [4]) == frozenset()


SERVICES = (ip_network("10.96.0.0/12"), ip_network("fd00:96::/112"))
FOUR, SIX = ip_address("10.42.0.11"), ip_address("fd00:42::b")


@pytest.mark.parametrize(
    ("addresses", "links", "found"),
    [
        pytest.param({4: FOUR, 6: SIX}, {4: 2, 6: 3}, {(4, 2, FOUR), (6, 3, SIX)}, id="each by its own link"),
        pytest.param({4: FOUR}, {4: 2}, {(4, 2, FOUR), (6, 2, None)}, id="no IPv6 address"),
        pytest.param({6: SIX}, {6: 3}, {(4, 3, None), (6, 3, SIX)}, id="no IPv4 address"),
        pytest.param({}, {}, set(), id="not told yet"),
    ],
)
def test_services_are_looked_for_by_the_link_of_the_node_s_address(
    addresses: dict[int, Address], links: dict[int, int], found: set[tuple[int, int, Address | None]]
) -> None:
    by_version = dict(zip((4, 6), SERVICES, strict=True))

    assert wanted_services(SERVICES, addresses, links) == {
        ServiceRoute(by_version[version], link, source) for version, link, source in found
    }


def test_a_network_that_moved_is_replaced_not_removed() -> None:
    old, new = route("10.244.1.0/24", "10.42.0.12"), route("10.244.1.0/24", "10.42.0.13")
    gone = route("10.244.9.0/24", "10.42.0.19")

    assert list(diff(frozenset({new}), frozenset({old, gone}))) == [RemoveRoute(gone), SetRoute(new)]


ROUTES = st.frozensets(
    st.builds(
        lambda net, host: route(f"10.244.{net}.0/24", f"10.42.0.{host}"), st.integers(0, 9), st.integers(1, 9)
    ),
).filter(lambda routes: len({one.network for one in routes}) == len(routes))


@given(ROUTES, ROUTES)
def test_after_the_changes_nothing_is_left_to_do(want: frozenset[Route], have: frozenset[Route]) -> None:
    kernel = {one.network: one for one in have}
    for action in diff(want, have):
        if isinstance(action, SetRoute):
            kernel[action.route.network] = action.route
        else:
            del kernel[action.route.network]

    assert frozenset(kernel.values()) == want
    assert list(diff(want, frozenset(kernel.values()))) == []


def test_hardware_addresses_are_local_and_follow_from_the_nodes_address() -> None:
    assert hardware_address(IPv4Address("10.42.0.11")) == "02:6b:0a:2a:00:0b"


def test_the_conflist_gives_out_the_nodes_own_network() -> None:
    content = json.loads(conflist.render([IPv4Network("10.244.3.0/24")], 1450))

    bridge, portmap, bandwidth = content["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}]]
    assert (bridge["mtu"], bridge["ipMasq"], portmap["type"]) == (1450, False, "portmap")
    # The runtime hands the annotations to the plugin that says it is able to.
    assert (bandwidth["type"], bandwidth["capabilities"]) == ("bandwidth", {"bandwidth": True})


BOTH = (LINK, ip_interface("fd00:42::11/64"))


def test_networks_of_both_families_have_ways_of_their_own() -> None:
    nodes = [
        node("me", "10.42.0.11,fd00:42::11", "10.244.0.0/24", "fd00:244::/64"),
        node("near", "10.42.0.12,fd00:42::12", "10.244.1.0/24", "fd00:244:0:1::/64"),
        node("far", "10.43.0.12,fd00:43::12", "fd00:244:0:2::/64", "10.244.2.0/24"),
        node("plain", "10.42.0.13", "10.244.3.0/24", "fd00:244:0:3::/64"),
    ]

    assert wanted(nodes, "me", BOTH, [4, 6]) == {
        route("10.244.1.0/24", "10.42.0.12"),
        route("fd00:244:0:1::/64", "fd00:42::12"),
        route("10.244.2.0/24", "10.244.2.0", tunnel="10.43.0.12"),
        route("fd00:244:0:2::/64", "fd00:244:0:2::", tunnel="10.43.0.12"),
        route("10.244.3.0/24", "10.42.0.13"),
        # A node without an IPv6 address carries its pods' IPv6 in IPv4, even to a neighbour.
        route("fd00:244:0:3::/64", "fd00:244:0:3::", tunnel="10.42.0.13"),
    }


def test_a_family_that_our_pods_do_not_have_needs_no_way() -> None:
    nodes = [node("near", "10.42.0.12,fd00:42::12", "10.244.1.0/24", "fd00:244:0:1::/64")]

    assert wanted(nodes, "me", BOTH, [4]) == {route("10.244.1.0/24", "10.42.0.12")}
    assert wanted(nodes, "me", BOTH[1:], [6]) == {route("fd00:244:0:1::/64", "fd00:42::12")}


def test_changes_of_both_families_are_made_in_one_order() -> None:
    old = frozenset({route("10.244.1.0/24", "10.42.0.12"), route("fd00:244:0:1::/64", "fd00:42::12")})
    new = frozenset({route("10.244.2.0/24", "10.42.0.13"), route("fd00:244:0:1::/64", "fd00:42::13")})

    assert list(diff(new, old)) == [
        RemoveRoute(route("10.244.1.0/24", "10.42.0.12")),
        SetRoute(route("10.244.2.0/24", "10.42.0.13")),
        SetRoute(route("fd00:244:0:1::/64", "fd00:42::13")),
    ]


def test_pods_have_their_addresses_in_the_order_of_the_node_s_networks() -> None:
    content = json.loads(conflist.render([ip_network("fd00:244::/64"), ip_network("10.244.0.0/24")], 1500))

    assert content["plugins"][0]["ipam"]["ranges"] == [
        [{"subnet": "fd00:244::/64"}],
        [{"subnet": "10.244.0.0/24"}],
    ]
