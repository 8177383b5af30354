"""Give every node its range of pod addresses out of the cluster's.

Reads Node. Writes Node.spec.podCIDR, podCIDRs. A node keeps its range for life; no two nodes have the same one, because
one worker alone gives them out, and looks at what all nodes have, in the cache that holds its own last gift.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import islice

from kybern.api.core_v1 import Node
from kybern.loop.controller import Action, Controller, Emit, Key, Patch, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

type Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class State:
    node: Node
    free: tuple[Network, ...] | None


def _cut(cluster: Network, mask: int) -> Iterator[Network]:
    size = 1 << (cluster.max_prefixlen - mask)
    first = int(cluster.network_address)
    kind = type(cluster)
    for number in range(1 << (mask - cluster.prefixlen)):
        yield kind((first + number * size, mask))


def first_free(
    cluster: Network, mask: int, taken: frozenset[Network], closed: tuple[Network, ...]
) -> Network | None:
    """The first range that no node has and that holds no service address."""
    free = (
        one
        for one in _cut(cluster, mask)
        if one not in taken
        and not any(one.version == other.version and one.overlaps(other) for other in closed)
    )
    return next(islice(free, 1), None)


@dataclass(slots=True)
class Offers:
    """What was offered to nodes that are not seen to have it: a write whose answer was lost may have been done."""

    _made: dict[str, tuple[str, tuple[Network, ...]]] = field(default_factory=dict)

    def made(self, node: Node, offer: tuple[Network, ...]) -> None:
        self._made[node.metadata.name] = node.metadata.uid, offer

    def to_others(self, than: Node, view: View) -> Iterator[Network]:
        """Offers that are still open; those that were taken, and those of nodes that are gone, are forgotten."""
        for name, (uid, offer) in tuple(self._made.items()):
            node = view.get(Node, "", name)
            if node is None or node.metadata.uid != uid or node.spec.pod_cidr:
                del self._made[name]
            elif name != than.metadata.name:
                yield from offer


@lru_cache(8192)
def _network(cidr: str) -> Network:
    return ip_network(cidr, strict=False)


def observing(settings: Settings) -> Callable[[View, Key], State | None]:
    offers = Offers()

    def observe(view: View, key: Key) -> State | None:
        node = view.get(Node, "", key.name)
        if node is None or node.spec.pod_cidr or node.metadata.deletion_timestamp is not None:
            return None
        held = (_network(cidr) for other in view.list(Node) for cidr in cidrs_of(other))
        taken = frozenset((*held, *offers.to_others(node, view)))
        found = []
        for cluster in settings.cluster_cidrs:
            mask = settings.node_mask_ipv4 if cluster.version == 4 else settings.node_mask_ipv6
            free = first_free(cluster, mask, taken, settings.service_cidrs)
            if free is None:
                return State(node, None)
            found.append(free)
        offers.made(node, tuple(found))
        return State(node, tuple(found))

    return observe


def cidrs_of(node: Node) -> tuple[str, ...]:
    return node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())


def diff(state: State) -> Iterable[Action]:
    node = state.node
    if state.free is None:
        message = f"Node {node.metadata.name} status is now: CIDRNotAvailable"
        yield Emit(node, "Normal", "CIDRNotAvailable", message)
        return
    cidrs = tuple(str(one) for one in state.free)
    if cidrs:
        yield Patch(node, replace(node, spec=replace(node.spec, pod_cidr=cidrs[0], pod_cidrs=cidrs)))


def all_nodes(_node: Node, view: View) -> Iterable[Key]:
    """A node that goes away frees a range, which one that waits may take."""
    for node in view.list(Node):
        if not node.spec.pod_cidr:
            yield Key("", node.metadata.name)


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "node-ipam-controller",
        Node,
        observing(settings),
        diff,
        watches=((Node, all_nodes),),
        component="node-controller",
        source="cidrAllocator",
        workers=1,
    )
