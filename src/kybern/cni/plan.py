"""Which routes this node needs so that its pods reach those of the other nodes. Pure.

Every node has a pod network of its own (``spec.podCIDR``, given by the controller manager). A node on the same link is
reached by a plain route; any other through one VXLAN device. The addresses of that device follow from what everybody
knows, so that nodes need not tell each other anything: its MAC from the node's address, its IP is the first of the node's
pod network.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from kybern.api.core_v1 import Node

DEVICE = "kybern-vxlan"


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """To a network through a gateway; ``tunnel`` is the node's address when the way is through the VXLAN device."""

    network: IPv4Network
    gateway: IPv4Address
    tunnel: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class SetRoute:
    route: Route


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    route: Route


type Action = SetRoute | RemoveRoute


def internal_address(node: Node) -> IPv4Address | None:
    """The node's first InternalIP of version 4, None while the kubelet has not told it."""
    texts = (
        one.address for one in node.status.addresses if one.type == "InternalIP" and ":" not in one.address
    )
    return next((IPv4Address(text) for text in texts), None)


def pod_network(node: Node) -> IPv4Network | None:
    """The node's pod network of version 4, None while it has none."""
    cidrs = node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
    return next((IPv4Network(cidr) for cidr in cidrs if ":" not in cidr), None)


def wanted(nodes: Iterable[Node], me: str, link: IPv4Interface) -> frozenset[Route]:
    """A route for each other node that has an address and a network. ``link`` is this node's own address."""
    return frozenset(_routes(nodes, me, link))


def _routes(nodes: Iterable[Node], me: str, link: IPv4Interface) -> Iterator[Route]:
    for node in nodes:
        address, network = internal_address(node), pod_network(node)
        if node.metadata.name == me or address is None or network is None:
            continue
        if address in link.network:
            yield Route(network, address)
        else:
            yield Route(network, network.network_address, tunnel=address)


def diff(wanted: frozenset[Route], actual: frozenset[Route]) -> Iterator[Action]:
    """Removals first: a network that moved to another node must not be refused as a duplicate."""
    kept = {route.network for route in wanted}
    yield from (RemoveRoute(route) for route in sorted(actual - wanted) if route.network not in kept)
    yield from (SetRoute(route) for route in sorted(wanted - actual))


def hardware_address(node: IPv4Address) -> str:
    """The MAC of a node's VXLAN device: locally administered, and its address."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x6B, *node.packed))
