"""Which node announces which address. Pure, and the same on every node that knows the same.

Rendezvous hashing: of the nodes that may announce an address, the one whose name and the address give the highest hash. A
node that comes or goes moves only its own addresses, and nobody has to agree with anybody (docs/adr/0022).
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

import msgspec

from kybern.api.core_v1 import Node, Service
from kybern.api.discovery_v1 import EndpointConditions
from kybern.api.meta_v1 import OwnerReference
from kybern.balancers.wishes import held, is_ours
from kybern.machinery.pools import Address
from kybern.machinery.struct import Object, Struct

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
SERVICE = "kubernetes.io/service-name"

type Key = tuple[str, str]


class SeenMeta(Struct):
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    name: str = ""
    namespace: str = ""
    owner_references: tuple[OwnerReference, ...] = ()
    resource_version: str = ""


class SeenEndpoint(Struct):
    conditions: EndpointConditions | None = None
    node_name: str = ""


class SeenSlice(Object):
    """An EndpointSlice, as much of it as decides where a service's endpoints are."""

    api_version: ClassVar[str] = "discovery.k8s.io/v1"
    kind: ClassVar[str] = "EndpointSlice"
    plural: ClassVar[str] = "endpointslices"
    namespaced: ClassVar[bool] = True
    metadata: SeenMeta = SeenMeta()
    endpoints: tuple[SeenEndpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Announced:
    """An address, whose it is, and the nodes that may announce it."""

    address: Address
    services: tuple[Key, ...]
    nodes: frozenset[str]


def may_announce(node: Node) -> bool:
    ready = next((one.status for one in node.status.conditions if one.type == "Ready"), "")
    return (
        ready == "True" and EXCLUDED not in node.metadata.labels and node.metadata.deletion_timestamp is None
    )


def with_endpoints(slices: Iterable[SeenSlice]) -> frozenset[str]:
    """Nodes with endpoints that take connections; where none is ready, with those that end and still serve.

    As kube-proxy has it for externalTrafficPolicy Local.
    """
    ready, ending = set(), set()
    for endpoint in (endpoint for one in slices for endpoint in one.endpoints):
        conditions = endpoint.conditions or EndpointConditions()
        if conditions.ready is not False:
            ready.add(endpoint.node_name)
        elif conditions.serving and conditions.terminating:
            ending.add(endpoint.node_name)
    return frozenset(ready or ending)


def announced(
    services: Iterable[Service], nodes: Iterable[Node], slices: Mapping[Key, Collection[SeenSlice]]
) -> tuple[Announced, ...]:
    """All addresses; ``slices`` are by the service that they belong to."""
    able = frozenset(node.metadata.name for node in nodes if may_announce(node))
    found: dict[Address, Announced] = {}
    for service in services:
        if not is_ours(service):
            continue
        key = (service.metadata.namespace, service.metadata.name)
        is_local = service.spec.external_traffic_policy == "Local"
        mine = able & with_endpoints(slices.get(key, ())) if is_local else able
        for address in held(service):
            old = found.get(address)
            # Those that share an address and are Local have the same endpoints.
            found[address] = (
                Announced(address, (*old.services, key), old.nodes & mine)
                if old
                else Announced(address, (key,), mine)
            )
    return tuple(found.values())


def winner(address: Address, nodes: Iterable[str]) -> str:
    """The node that announces an address; "" when there is none."""
    return max(nodes, key=lambda node: (sha256(f"{node} {address}".encode()).digest(), node), default="")


def mine(
    told: Iterable[Announced], alive: AbstractSet[str], leading: AbstractSet[str], node: str
) -> dict[Address, tuple[Key, ...]]:
    """The addresses that ``node`` is to announce, and whose they are.

    Nodes that are alive and do not lead to pods as far as they know (``kybern.balancers.serving``) stand back for those that
    do. Where there is none of these, they are the best there is: the kernel keeps the rules that it has.
    """
    return {
        one.address: one.services
        for one in told
        if winner(one.address, one.nodes & leading or one.nodes & alive) == node
    }
