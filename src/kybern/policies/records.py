"""Pods and policies as far as policies depend on them: what the API says, read into small records. Pure.

Every node knows every pod of the cluster while there are policies, so pods are decoded into a type of our own that
leaves out all else: a fifth of the memory, and less to decode.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import ClassVar

import msgspec

from kybern.api.core_v1 import ContainerPort, Node, PodIP
from kybern.api.networking_v1 import NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from kybern.loop.owners import selector_of
from kybern.machinery.selectors import EVERYTHING, NOTHING, LabelSelector
from kybern.machinery.struct import Object, Struct

INGRESS, EGRESS = "ingress", "egress"
DIRECTIONS = (EGRESS, INGRESS)
# What the API server need not send: pods of the host's network are no pods to a policy, and addresses of those that have
# ended may be others' by now.
PODS = "spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed"

type Key = tuple[str, str]
type Network = IPv4Network | IPv6Network


def networks(node: Node) -> tuple[Network, ...]:
    """Those that the addresses of a node's pods are from; none while it has none."""
    cidrs = node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
    return tuple(ip_network(cidr, strict=False) for cidr in cidrs)


class SeenMeta(Struct):
    creation_timestamp: datetime | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class SeenContainer(Struct):
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str = ""


class SeenSpec(Struct):
    containers: tuple[SeenContainer, ...] = ()
    init_containers: tuple[SeenContainer, ...] = ()
    host_network: bool = False
    node_name: str = ""


class SeenStatus(Struct):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[PodIP, ...] = msgspec.field(name="podIPs", default=())


class SeenPod(Object):
    """A Pod, as much of it as policies look at."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Pod"
    plural: ClassVar[str] = "pods"
    namespaced: ClassVar[bool] = True
    metadata: SeenMeta = SeenMeta()
    spec: SeenSpec = SeenSpec()
    status: SeenStatus = SeenStatus()


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A port of a container that has a name; ``protocol`` as nftables has it."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with an address of its own, or that is about to get one. ``created`` sorts by age."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    node: str = ""
    addresses: tuple[str, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    created: str = ""

    @property
    def key(self) -> Key:
        return self.namespace, self.name


def pod(seen: SeenPod) -> Pod | None:
    """None for one that policies do not know: on the host's network, or ended."""
    if seen.spec.host_network or seen.status.phase in ("Succeeded", "Failed"):
        return None
    told = [one.ip for one in seen.status.pod_ips] or [seen.status.pod_ip]
    meta = seen.metadata
    return Pod(
        meta.namespace,
        meta.name,
        meta.labels,
        seen.spec.node_name,
        tuple(_addresses(told)),
        tuple(_named_ports(seen)),
        meta.creation_timestamp.isoformat() if meta.creation_timestamp else "",
    )


def _addresses(told: Iterable[str]) -> Iterator[str]:
    for text in told:
        try:
            yield str(ip_address(text))
        except ValueError:
            continue  # one kubelet's words must not end the policies of all


def _named_ports(seen: SeenPod) -> Iterator[NamedPort]:
    """Of all containers that run beside each other, as upstream's FindPort."""
    sidecars = (one for one in seen.spec.init_containers if one.restart_policy == "Always")
    for container in (*seen.spec.containers, *sidecars):
        for port in container.ports:
            if port.name and port.container_port:
                yield NamedPort(port.name, (port.protocol or "TCP").lower(), port.container_port)


@dataclass(frozen=True, slots=True)
class Selected:
    """Pods as peers: those of ``namespace``, or, where that is empty, of the namespaces that ``namespaces`` selects."""

    pods: LabelSelector
    namespace: str = ""
    namespaces: LabelSelector = EVERYTHING


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses as peers."""

    network: Network
    excepts: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """A port by number (``first`` to ``last``) or by ``name``; with neither all ports of the protocol."""

    protocol: str
    first: int = 0
    last: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One rule of a policy: any of the peers on any of the ports; none of either means all."""

    peers: tuple[Selected | Block, ...] = ()
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a policy says; a direction of None is left alone by it."""

    namespace: str
    name: str
    pods: LabelSelector
    ingress: tuple[Allowed, ...] | None = None
    egress: tuple[Allowed, ...] | None = None

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    def allowed(self, direction: str) -> tuple[Allowed, ...] | None:
        return self.ingress if direction == INGRESS else self.egress


def policy(found: NetworkPolicy) -> Policy:
    """Without policyTypes a policy is for ingress, and for egress where it has rules for it."""
    spec, namespace = found.spec, found.metadata.namespace
    types = spec.policy_types or (("Ingress", "Egress") if spec.egress else ("Ingress",))
    into = tuple(Allowed(_peers(one.from_, namespace), _ports(one.ports)) for one in spec.ingress)
    out = tuple(Allowed(_peers(one.to, namespace), _ports(one.ports)) for one in spec.egress)
    return Policy(
        namespace,
        found.metadata.name,
        EVERYTHING if spec.pod_selector is None else selector_of(spec.pod_selector),
        into if "Ingress" in types else None,
        out if "Egress" in types else None,
    )


def _peers(found: tuple[NetworkPolicyPeer, ...], namespace: str) -> tuple[Selected | Block, ...]:
    return tuple(_peer(one, namespace) for one in found)


def _peer(found: NetworkPolicyPeer, namespace: str) -> Selected | Block:
    if (block := found.ip_block) is not None:
        try:
            excepts = tuple(ip_network(one, strict=False) for one in block.except_)
            return Block(ip_network(block.cidr, strict=False), excepts)
        except ValueError:
            # Servers of long ago took addresses that nobody reads any more. No peer at all would mean everybody.
            return Selected(NOTHING, namespace)
    pods = EVERYTHING if found.pod_selector is None else selector_of(found.pod_selector)
    if found.namespace_selector is None:
        return Selected(pods, namespace)
    return Selected(pods, namespaces=selector_of(found.namespace_selector))


def _ports(found: tuple[NetworkPolicyPort, ...]) -> tuple[Port, ...]:
    return tuple(_port(one) for one in found)


def _port(found: NetworkPolicyPort) -> Port:
    protocol = (found.protocol or "TCP").lower()
    match found.port:
        case None:
            return Port(protocol)
        case str(name):
            return Port(protocol, name=name)
        case int(first):
            return Port(protocol, first, found.end_port or first)
