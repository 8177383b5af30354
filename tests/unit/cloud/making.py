"""Nodes, services and a cloud for the tests, made of as little as each needs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kybern.api.core_v1 import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
    Taint,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.cloud.provider import CloudError, Instance, Route, Zone
from tests.unit.controllers.making import ago

INSIDE = "198.51.100.7"


def node(
    name: str = "n1", *taints: str, ready: str = "True", provider_id: str = "", age: float = 100, **more: Any
) -> Node:
    """``more``: labels, annotations, addresses (pairs of type and address), conditions, cidrs, deleted."""
    conditions = (NodeCondition(type="Ready", status=ready),) if ready else ()
    addresses = more.get("addresses", (("InternalIP", "10.0.0.1"), ("Hostname", name)))
    return Node(
        metadata=ObjectMeta(
            name=name,
            uid=f"uid-{name}",
            creation_timestamp=ago(age),
            deletion_timestamp=more.get("deleted"),
            labels=more.get("labels", {}),
            annotations=more.get("annotations", {}),
        ),
        spec=NodeSpec(
            provider_id=provider_id,
            taints=tuple(Taint(key=key, effect="NoSchedule") for key in taints),
            pod_cidr=next(iter(more.get("cidrs", ())), ""),
            pod_cidrs=more.get("cidrs", ()),
        ),
        status=NodeStatus(
            conditions=(*conditions, *more.get("conditions", ())),
            addresses=tuple(NodeAddress(type=kind, address=address) for kind, address in addresses),
        ),
    )


def instance(**more: Any) -> Instance:
    return Instance("fake://zone/1", **more)


def service(
    kind: str = "LoadBalancer", *finalizers: str, ingress: Sequence[str] = (), **more: Any
) -> Service:
    balancer = LoadBalancerStatus(ingress=tuple(LoadBalancerIngress(ip=one) for one in ingress))
    return Service(
        metadata=ObjectMeta(
            name="web",
            namespace="a",
            uid="uid-web",
            finalizers=finalizers,
            deletion_timestamp=more.pop("deleted", None),
        ),
        spec=ServiceSpec(type=kind, ports=(ServicePort(port=80, node_port=30080),), **more),
        status=ServiceStatus(load_balancer=balancer if ingress else None),
    )


@dataclass(eq=False)
class FakeCloud:
    """A cloud in dicts, with all parts. ``broken``: it answers nothing."""

    machines: dict[str, Instance] = field(default_factory=dict)
    balancers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    table: dict[str, Route] = field(default_factory=dict)
    broken: bool = False

    @property
    def instances(self) -> "FakeCloud":
        return self

    @property
    def zones(self) -> "FakeCloud":
        return self

    @property
    def load_balancers(self) -> "FakeBalancers":
        return FakeBalancers(self)

    @property
    def routes(self) -> "FakeRoutes":
        return FakeRoutes(self)

    @property
    def volumes(self) -> None:
        return None

    def work(self) -> None:
        if self.broken:
            raise CloudError("cannot reach the cloud")

    async def find(self, node: str, provider_id: str) -> Instance | None:
        self.work()
        assert not provider_id or provider_id.startswith("fake://")
        return self.machines.get(node)

    async def zone(self, node: str, provider_id: str) -> Zone:
        self.work()
        return Zone("rack-1", "home")

    async def close(self) -> None:
        """There are no connections."""


@dataclass(frozen=True)
class FakeBalancers:
    cloud: FakeCloud

    async def ensure(
        self, cluster: str, service: Service, nodes: Sequence[Node]
    ) -> tuple[LoadBalancerIngress, ...]:
        await self.update(cluster, service, nodes)
        return (LoadBalancerIngress(ip=INSIDE),)

    async def update(self, cluster: str, service: Service, nodes: Sequence[Node]) -> None:
        self.cloud.work()
        self.cloud.balancers[service.metadata.name] = tuple(one.metadata.name for one in nodes)

    async def delete(self, cluster: str, service: Service) -> None:
        self.cloud.work()
        self.cloud.balancers.pop(service.metadata.name, None)


@dataclass(frozen=True)
class FakeRoutes:
    cloud: FakeCloud

    async def list(self, cluster: str) -> tuple[Route, ...]:
        self.cloud.work()
        return tuple(self.cloud.table.values())

    async def create(self, cluster: str, route: Route) -> None:
        self.cloud.work()
        self.cloud.table[route.destination] = route

    async def delete(self, cluster: str, route: Route) -> None:
        self.cloud.work()
        self.cloud.table.pop(route.destination, None)


def open_fake(text: str) -> FakeCloud:
    """What a foreign package's entry point names."""
    return FakeCloud(machines={name: instance() for name in text.split()})
