"""Requests to the cloud, as the loop runs them: each with a time limit, its failures as those of a server."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from kybern.api.core_v1 import LoadBalancerIngress, Node, Service
from kybern.cloud.provider import CloudError, Instance, Instances, LoadBalancers, Route, Routes, Zone, Zones
from kybern.machinery.errors import ServiceUnavailable

_READ = 30.0  # seconds
_CHANGE = 300.0  # a balancer is machines, to some clouds


async def done[T](request: Awaitable[T], seconds: float) -> T:
    """What a request to the cloud brings back; raises ServiceUnavailable, whose text is the cloud's."""
    try:
        async with asyncio.timeout(seconds):
            return await request
    except CloudError as problem:
        raise ServiceUnavailable(str(problem)) from problem
    except TimeoutError as problem:
        raise ServiceUnavailable(f"the cloud did not answer within {seconds:.0f} s") from problem


@dataclass(frozen=True, slots=True)
class FindInstance:
    instances: Instances
    node: str
    provider_id: str

    async def run(self) -> Instance | None:
        return await done(self.instances.find(self.node, self.provider_id), _READ)


@dataclass(frozen=True, slots=True)
class FindZone:
    zones: Zones
    node: str
    provider_id: str

    async def run(self) -> Zone:
        return await done(self.zones.zone(self.node, self.provider_id), _READ)


@dataclass(frozen=True, slots=True)
class ListRoutes:
    routes: Routes
    cluster: str

    async def run(self) -> tuple[Route, ...]:
        return await done(self.routes.list(self.cluster), _READ)


@dataclass(frozen=True, slots=True)
class CreateRoute:
    routes: Routes
    cluster: str
    route: Route

    async def run(self) -> None:
        await done(self.routes.create(self.cluster, self.route), _CHANGE)


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    routes: Routes
    cluster: str
    route: Route

    async def run(self) -> None:
        await done(self.routes.delete(self.cluster, self.route), _CHANGE)


@dataclass(frozen=True, slots=True)
class EnsureBalancer:
    balancers: LoadBalancers
    cluster: str
    service: Service
    nodes: tuple[Node, ...]

    async def run(self) -> tuple[LoadBalancerIngress, ...]:
        return await done(self.balancers.ensure(self.cluster, self.service, self.nodes), _CHANGE)


@dataclass(frozen=True, slots=True)
class UpdateBalancer:
    balancers: LoadBalancers
    cluster: str
    service: Service
    nodes: tuple[Node, ...]

    async def run(self) -> None:
        await done(self.balancers.update(self.cluster, self.service, self.nodes), _CHANGE)


@dataclass(frozen=True, slots=True)
class DeleteBalancer:
    balancers: LoadBalancers
    cluster: str
    service: Service

    async def run(self) -> None:
        await done(self.balancers.delete(self.cluster, self.service), _CHANGE)
