"""What the API says about network policies, sentence by sentence, for one packet: the oracle of the other tests.

Works on the JSON of the API and knows nothing of how policies are put in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

type Raw = Mapping[str, Any]


@dataclass
class World:
    """Namespaces with their labels, and pods and policies as JSON, by namespace and name."""

    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    pods: dict[tuple[str, str], Raw] = field(default_factory=dict)
    policies: dict[tuple[str, str], Raw] = field(default_factory=dict)


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, after any service's address was replaced by a pod's."""

    source: str
    destination: str
    protocol: str = "TCP"
    port: int = 80


def allowed(world: World, packet: Packet) -> bool:
    """It must be allowed to leave the one pod and to enter the other."""
    source, destination = pod_of(world, packet.source), pod_of(world, packet.destination)
    if source is not None and source is destination:
        return True
    return _passes(world, packet, source, "Egress") and _passes(world, packet, destination, "Ingress")


def pod_of(world: World, address: str) -> Raw | None:
    """Who has an address. Pods on the host's network are as any process of the node; the ended have none."""
    for pod in world.pods.values():
        if _is_known(pod) and address in addresses(pod):
            return pod
    return None


def is_isolated(world: World, pod: Raw) -> bool:
    return _is_known(pod) and any(_policies(world, pod, direction) for direction in ("Ingress", "Egress"))


def _is_known(pod: Raw) -> bool:
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not pod["spec"].get("hostNetwork") and not ended


def addresses(pod: Raw) -> list[str]:
    return [one["ip"] for one in pod["status"].get("podIPs", ())]


def _passes(world: World, packet: Packet, pod: Raw | None, direction: str) -> bool:
    """A pod is isolated in a direction when a policy selects it that applies to the direction; then the union counts."""
    if pod is None:
        return True
    mine = _policies(world, pod, direction)
    return not mine or any(_allows(world, packet, policy, direction) for policy in mine)


def _policies(world: World, pod: Raw, direction: str) -> list[Raw]:
    return [
        policy
        for (namespace, _), policy in world.policies.items()
        if namespace == pod["metadata"]["namespace"]
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"].get("podSelector"), pod["metadata"].get("labels"))
    ]


def _allows(world: World, packet: Packet, policy: Raw, direction: str) -> bool:
    ingress = direction == "Ingress"
    peer = packet.source if ingress else packet.destination
    for rule in policy["spec"].get("ingress" if ingress else "egress") or ():
        peers, ports = rule.get("from" if ingress else "to") or (), rule.get("ports") or ()
        namespace = policy["metadata"]["namespace"]
        if peers and not any(_is_peer(world, peer, one, namespace) for one in peers):
            continue
        if not ports or any(_is_port(world, packet, one) for one in ports):
            return True
    return False


def _is_peer(world: World, address: str, peer: Raw, namespace: str) -> bool:
    if block := peer.get("ipBlock"):
        found = ip_address(address)
        return found in ip_network(block["cidr"]) and not any(
            found in ip_network(one) for one in block.get("except", ())
        )
    pod = pod_of(world, address)
    if pod is None:
        return False
    theirs = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if theirs not in world.namespaces:
            return False
        if not _selects(peer["namespaceSelector"], world.namespaces[theirs]):
            return False
    elif theirs != namespace:
        return False
    return "podSelector" not in peer or _selects(peer["podSelector"], pod["metadata"].get("labels"))


def _is_port(world: World, packet: Packet, port: Raw) -> bool:
    if port.get("protocol", "TCP") != packet.protocol:
        return False
    asked = port.get("port")
    if asked is None:
        return True
    if isinstance(asked, int):
        return bool(asked <= packet.port <= port.get("endPort", asked))
    # A name is that of a port of the pod that is called.
    pod = pod_of(world, packet.destination)
    return pod is not None and any(
        (one.get("name"), one.get("protocol", "TCP"), one["containerPort"])
        == (asked, packet.protocol, packet.port)
        for container in pod["spec"]["containers"]
        for one in container.get("ports", ())
    )


def _selects(selector: Raw | None, labels: Mapping[str, str] | None) -> bool:
    given, selector = labels or {}, selector or {}
    if any(given.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(one, given) for one in selector.get("matchExpressions", ()))


def _holds(expression: Raw, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", ())
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
