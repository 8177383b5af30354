"""Which routes this node needs so that its pods reach those of the other nodes, and itself the Services. Pure.

Every node has a pod network of its own, or one of each family (``spec.podCIDRs``, given by the controller manager). A node
on the same link is reached by a plain route; any other through one VXLAN device, whose outer packets are IPv4 for both
families, so that nodes without an IPv6 address of their own carry their pods' IPv6 as well. The addresses of that device
follow from what everybody knows, so that nodes need not tell each other anything: its MAC from the node's address, its IPs
are the first of the node's pod networks.

What the node itself sends to a Service gets another destination from kube-proxy's rules, but only if the kernel found a way
to the first one: where no default route leads anywhere (IPv6 on many machines), it says that there is none. So the Services'
networks have a way of their own, by the node's link. Nobody there has such an address: what no rule took ends at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)

from kybern.api.core_v1 import Node

DEVICE = "kybern-vxlan"
VERSIONS = (4, 6)

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network
type Link = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Route:
    """To a network through a gateway; ``tunnel`` is the node's address when the way is through the VXLAN device."""

    network: Network
    gateway: Address
    tunnel: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """To a network of Services by a link (its index); ``source`` is the address that packets bear, None for any."""

    network: Network
    link: int
    source: Address | None


@dataclass(frozen=True, slots=True)
class SetRoute:
    route: Route


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    route: Route


type Action = SetRoute | RemoveRoute


def internal_addresses(node: Node) -> dict[int, Address]:
    """The node's first InternalIP of each version; none while the kubelet has not told it.

    The API server takes any text there, of any kubelet: what is no address counts as nothing.
    """
    found: dict[int, Address] = {}
    for one in node.status.addresses:
        if one.type == "InternalIP" and (address := _address(one.address)):
            found.setdefault(address.version, address)
    return found


def _address(text: str) -> Address | None:
    try:
        return None if "%" in text else ip_address(text)  # a scope is only its own machine's
    except ValueError:
        return None


def pod_networks(node: Node) -> dict[int, Network]:
    """The node's pod network of each version, in the order in which its pods shall have their addresses."""
    cidrs = node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
    found: dict[int, Network] = {}
    for cidr in cidrs:
        network = ip_network(cidr)
        found.setdefault(network.version, network)
    return found


def outer(addresses: Mapping[int, Address]) -> IPv4Address | None:
    """Where a node's VXLAN device is reached."""
    address = addresses.get(4)
    return address if isinstance(address, IPv4Address) else None


def wanted(
    nodes: Iterable[Node], me: str, links: Iterable[Link], versions: Iterable[int]
) -> frozenset[Route]:
    """A route for each network of each other node that can be reached.

    ``links`` are this node's own addresses with their prefixes, ``versions`` those of its own pod networks: pods without an
    address of a family need no way to those that have one.
    """
    own, kept = tuple(links), tuple(versions)
    others = (node for node in nodes if node.metadata.name != me)
    return frozenset(route for node in others for route in _routes(node, own, kept))


def _routes(node: Node, links: tuple[Link, ...], versions: tuple[int, ...]) -> Iterator[Route]:
    addresses = internal_addresses(node)
    for version, network in pod_networks(node).items():
        if version not in versions:
            continue
        address, through = addresses.get(version), outer(addresses)
        if address is not None and any(address in link.network for link in links):
            yield Route(network, address)
        elif through is not None and any(link.version == 4 for link in links):
            yield Route(network, network.network_address, tunnel=through)


def wanted_services(
    networks: Iterable[Network], addresses: Mapping[int, Address], links: Mapping[int, int]
) -> frozenset[ServiceRoute]:
    """A way to each network of Services, by the link that bears the node's address of its family, or else of the other one.

    ``addresses`` are the node's own by version, ``links`` their links' indexes.
    """
    return frozenset(
        ServiceRoute(network, links.get(network.version, first), addresses.get(network.version))
        for first in list(links.values())[:1]
        for network in networks
    )


def diff(wanted: frozenset[Route], actual: frozenset[Route]) -> Iterator[Action]:
    """Removals first: a network that moved to another node must not be refused as a duplicate."""
    kept = {route.network for route in wanted}
    gone = (route for route in actual - wanted if route.network not in kept)
    yield from (RemoveRoute(route) for route in sorted(gone, key=_order))
    yield from (SetRoute(route) for route in sorted(wanted - actual, key=_order))


def _order(route: Route) -> tuple[int, int, int]:
    """Addresses of two families cannot be compared themselves."""
    return route.network.version, int(route.network.network_address), int(route.gateway)


def hardware_address(node: IPv4Address) -> str:
    """The MAC of a node's VXLAN device: locally administered, and its address."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x6B, *node.packed))
