"""Which routes a node needs."""

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import Node, NodeAddress, NodeSpec, NodeStatus
from kybern.api.meta_v1 import ObjectMeta
from kybern.cni import conflist
from kybern.cni.plan import RemoveRoute, Route, SetRoute, diff, hardware_address, wanted

LINK = IPv4Interface("10.42.0.11/24")


def node(name: str, address: str = "", cidr: str = "") -> Node:
    addresses = (NodeAddress(type="Hostname", address=name), NodeAddress(type="InternalIP", address=address))
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(pod_cidr=cidr, pod_cidrs=(cidr,) if cidr else ()),
        status=NodeStatus(addresses=addresses if address else ()),
    )


def route(network: str, gateway: str, tunnel: str = "") -> Route:
    return Route(IPv4Network(network), IPv4Address(gateway), IPv4Address(tunnel) if tunnel else None)


def test_a_node_on_the_same_link_is_reached_directly_and_any_other_through_the_tunnel() -> None:
    nodes = [
        node("me", "10.42.0.11", "10.244.0.0/24"),
        node("near", "10.42.0.12", "10.244.1.0/24"),
        node("far", "10.43.0.12", "10.244.2.0/24"),
    ]

    assert wanted(nodes, "me", LINK) == {
        route("10.244.1.0/24", "10.42.0.12"),
        route("10.244.2.0/24", "10.244.2.0", tunnel="10.43.0.12"),
    }


def test_a_node_without_address_or_network_has_no_route_yet() -> None:
    assert wanted([node("a", "10.42.0.12"), node("b", "", "10.244.1.0/24")], "me", LINK) == frozenset()


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
    content = json.loads(conflist.render(IPv4Network("10.244.3.0/24"), 1450))

    bridge, portmap, bandwidth = content["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}]]
    assert (bridge["mtu"], bridge["ipMasq"], portmap["type"]) == (1450, False, "portmap")
    # The runtime hands the annotations to the plugin that says it is able to.
    assert (bandwidth["type"], bandwidth["capabilities"]) == ("bandwidth", {"bandwidth": True})
