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


class NoRoom(CloudError):
    """It has less left than is asked for."""


class InUse(CloudError):
    """A machine has what is to be changed."""


class Impossible(CloudError):
    """What is asked for can never be."""


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


@dataclass(frozen=True, slots=True)
class BlockVolume:
    """A device of ``size`` bytes that machines of ``zone`` can be given. ``handle`` is the cloud's own name for it."""

    handle: str
    size: int
    zone: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a volume of ``size`` bytes held at a time; ``created`` in nanoseconds of the epoch."""

    handle: str
    size: int
    created: int


class Volumes(Protocol):
    """Block volumes, each for one machine at a time. ``parameters`` are those of a StorageClass.

    Raises CloudError; for what asking again will not change, its kinds NoRoom, InUse and Impossible.
    """

    def zone(self, handle: str) -> str:
        """Where a volume or a snapshot is; empty for a handle that is none of this cloud's. Asks nobody."""
        ...

    async def room(self, parameters: Mapping[str, str]) -> Mapping[str, int]:
        """By zone, the bytes that a new volume can have. A zone that can have none is not named."""
        ...

    async def create(
        self, name: str, size: int, zone: str, parameters: Mapping[str, str], source: str = ""
    ) -> BlockVolume:
        """``name`` is unique for ever. ``source``: the handle of what it begins as (snapshot or volume); it may be larger.

        Raises InUse for a volume that cannot be copied while a machine has it.
        """
        ...

    async def delete(self, handle: str) -> None:
        """One that is gone is no error; raises InUse for one that a machine has."""
        ...

    async def attach(self, handle: str, node: str, provider_id: str) -> Mapping[str, str]:
        """Give it to a node's machine; what tells the node which device it is (CSI's publish context)."""
        ...

    async def detach(self, handle: str, node: str, provider_id: str) -> None:
        """Take it away. A machine that does not have it, is switched off or gone is no error."""
        ...

    async def expand(self, handle: str, size: int) -> int:
        """At least ``size`` bytes, while a machine has it, too; how many it has then."""
        ...

    async def snapshot(self, handle: str, name: str) -> Snapshot:
        """What is there of an earlier attempt is made anew: the caller asks until it has an answer, and then no more."""
        ...

    async def delete_snapshot(self, handle: str) -> None: ...

    async def abandon_snapshot(self, handle: str, name: str) -> None:
        """Remove what ``snapshot`` may have left that did not come to its end."""
        ...


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

    @property
    def volumes(self) -> Volumes | None: ...

    async def close(self) -> None: ...
