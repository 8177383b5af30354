"""What a cloud has to offer, in parts. A cloud that lacks a part says None, and what needs it does not run.

A provider is a package with an entry point of the group ``kybern.cloud_providers``: a name, as ``--cloud-provider`` takes
it, and a function from the text of ``--cloud-config`` to a Provider (see ``providers``). It raises BadConfig for a text that
it cannot use; everything else here raises CloudError, and nothing else, for what cannot be done or found out now. Each
call is made again after an error, so each brings about a state and does nothing where it is there already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kybern.api.core_v1 import LoadBalancerIngress, Node, NodeAddress, Service


class CloudError(Exception):
    """The cloud cannot say, or do, that now. The message begins "cannot ..."."""


class BadConfig(ValueError):
    """What --cloud-config names cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine. ``running``: not switched off. ``labels`` are further ones for the node, of no domain of Kubernetes'."""

    provider_id: str
    running: bool = True
    instance_type: str = ""
    addresses: tuple[NodeAddress, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Zone:
    """Where a machine is: what fails together, and the region around that. Empty: not known."""

    zone: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Packets for ``destination``, a range of pods' addresses, go to ``node``. ``name`` is the cloud's own."""

    node: str
    destination: str
    addresses: tuple[str, ...] = ()
    name: str = ""


class Instances(Protocol):
    async def find(self, node: str, provider_id: str) -> Instance | None:
        """The machine of a node: by its provider ID where it has one, else by its name.

        None says that there is certainly none, and a node that is not ready is deleted for it.
        """
        ...


class Zones(Protocol):
    async def zone(self, node: str, provider_id: str) -> Zone: ...


class LoadBalancers(Protocol):
    """Balancers of services of type LoadBalancer that name no loadBalancerClass; ``cluster`` is --cluster-name."""

    async def ensure(
        self, cluster: str, service: Service, nodes: Sequence[Node]
    ) -> tuple[LoadBalancerIngress, ...]:
        """Bring the service's balancer about, with these nodes behind it; where it can be reached."""
        ...

    async def update(self, cluster: str, service: Service, nodes: Sequence[Node]) -> None:
        """Put these nodes behind it. Nothing else changed."""
        ...

    async def delete(self, cluster: str, service: Service) -> None: ...


class Routes(Protocol):
    async def list(self, cluster: str) -> tuple[Route, ...]: ...

    async def create(self, cluster: str, route: Route) -> None: ...

    async def delete(self, cluster: str, route: Route) -> None: ...


class Provider(Protocol):
    """One cloud. ``close`` lets go of its connections."""

    @property
    def instances(self) -> Instances | None: ...

    @property
    def zones(self) -> Zones | None: ...

    @property
    def load_balancers(self) -> LoadBalancers | None: ...

    @property
    def routes(self) -> Routes | None: ...

    async def close(self) -> None: ...
