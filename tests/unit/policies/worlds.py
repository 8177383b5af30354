"""Worlds for the tests: pods, policies and namespaces as the API has them, and nodes that put policies in force."""

from typing import Any

import msgspec

from kybern.api.networking_v1 import NetworkPolicy
from kybern.machinery.struct import decoder
from kybern.policies.model import Model
from kybern.policies.records import Network, Pod, SeenPod, pod, policy
from tests.unit.policies.interpreter import Kernel
from tests.unit.policies.judge import Packet, Raw, World

type Labels = dict[str, str]


def a_pod(
    namespace: str, name: str, labels: Labels | None = None, ips: tuple[str, ...] = (), **other: Any
) -> Raw:
    """``other``: node, phase, host, ports as (name, protocol, number)."""
    ports = [
        {"name": name, "protocol": protocol, "containerPort": number}
        for name, protocol, number in other.get("ports", ())
    ]
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": labels or {}},
        "spec": {
            "nodeName": other.get("node", "n1"),
            "hostNetwork": other.get("host", False),
            "containers": [{"name": "c", "ports": ports}],
        },
        "status": {
            "phase": other.get("phase", "Running"),
            "podIP": ips[0] if ips else "",
            "podIPs": [{"ip": ip} for ip in ips],
        },
    }


def a_policy(
    namespace: str, name: str, selector: Raw, ingress: Any = None, egress: Any = None, types: Any = None
) -> Raw:
    spec: dict[str, Any] = {"podSelector": selector}
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    # As the API server fills it in.
    spec["policyTypes"] = types or (["Ingress", "Egress"] if egress else ["Ingress"])
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def seen(raw: Raw) -> Pod | None:
    return pod(decoder(SeenPod).decode(msgspec.json.encode(raw)))


class Node:
    """A node's model, and the kernel that it writes to."""

    def __init__(self, name: str, networks: tuple[Network, ...] = ()) -> None:
        self.model = Model(name, networks)
        self.kernel = Kernel()
        self.kernel.apply(self.model.table.everything())

    def put_pod(self, key: tuple[str, str], raw: Raw | None) -> None:
        self.model.put_pod(key, None if raw is None else seen(raw))

    def put_policy(self, key: tuple[str, str], raw: Raw | None) -> None:
        found = None if raw is None else policy(decoder(NetworkPolicy).decode(msgspec.json.encode(raw)))
        self.model.put_policy(key, found)

    def put_namespace(self, name: str, labels: Labels | None) -> None:
        self.model.put_namespace(name, labels)

    def settle(self) -> None:
        self.model.settle()
        # One transaction, and what is left over by another.
        self.kernel.apply(self.model.table.changes())
        self.kernel.apply(self.model.table.leftovers())

    def learn(self, world: World) -> None:
        for name, labels in world.namespaces.items():
            self.put_namespace(name, labels)
        for key, raw in world.pods.items():
            self.put_pod(key, raw)
        for key, raw in world.policies.items():
            self.put_policy(key, raw)
        self.settle()


def nodes_of(world: World, names: tuple[str, ...] = ("n1", "n2")) -> tuple[Node, ...]:
    found = tuple(Node(name) for name in names)
    for node in found:
        node.learn(world)
    return found


def passes(nodes: tuple[Node, ...], packet: Packet) -> bool:
    """On its way from pod to pod a packet is forwarded by both of their nodes."""
    return all(node.kernel.passes(packet) for node in nodes)
