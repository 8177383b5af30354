"""Services, nodes and slices for the tests of balancers, made of as little as each needs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kybern.api.core_v1 import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeCondition,
    NodeStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)  # fmt: skip
from kybern.api.discovery_v1 import EndpointConditions
from kybern.api.meta_v1 import ObjectMeta
from kybern.balancers.elect import SERVICE, SeenEndpoint, SeenMeta, SeenSlice

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def service(
    name: str, *held: str, age: float = 0, annotations: dict[str, str] | None = None, **spec: Any
) -> Service:
    """``age`` in seconds; ``held`` are the addresses in its status."""
    given = {"type": "LoadBalancer", "ip_families": ("IPv4",), "ports": (ServicePort(port=80),), **spec}
    ingress = tuple(LoadBalancerIngress(ip=one, ip_mode="VIP") for one in held)
    return Service(
        metadata=ObjectMeta(
            name=name,
            namespace="a",
            uid=f"uid-{name}",
            annotations=annotations or {},
            creation_timestamp=NOW - timedelta(seconds=age),
        ),
        spec=ServiceSpec(**given),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress) if held else None),
    )


def node(name: str, ready: str = "True", **labels: str) -> Node:
    return Node(
        metadata=ObjectMeta(
            name=name, labels={key.replace("__", "/"): value for key, value in labels.items()}
        ),
        status=NodeStatus(conditions=(NodeCondition(type="Ready", status=ready),)),
    )


def slice_of(name: str, *endpoints: tuple[str, EndpointConditions]) -> SeenSlice:
    return SeenSlice(
        metadata=SeenMeta(name=f"{name}-x", namespace="a", labels={SERVICE: name}),
        endpoints=tuple(SeenEndpoint(conditions=one, node_name=where) for where, one in endpoints),
    )
