"""Have the cloud send packets for pods to the nodes that have them.

Reads Node. Writes Node.status.conditions (NetworkUnavailable).

A route of the cloud's is ours where its destination lies in the cluster's range; those that no node wants go. What routes
there are is asked once in --route-reconciliation-period, and after each change of ours: one worker, so one listing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from ipaddress import ip_network

from kybern.api.core_v1 import Node, NodeCondition
from kybern.cloud.errands import CreateRoute, DeleteRoute, ListRoutes
from kybern.cloud.provider import Route, Routes
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import (
    Action,
    Controller,
    Emit,
    Failure,
    Key,
    PatchStatus,
    Send,
    View,
)
from kybern.loop.nodes import condition
from kybern.machinery.struct import replace

UNAVAILABLE = "NetworkUnavailable"


@dataclass(slots=True)
class Listing:
    """The routes that the cloud listed last; None: they changed since."""

    routes: tuple[Route, ...] | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a route, after which the listing holds no more."""

    errand: CreateRoute | DeleteRoute
    listing: Listing = field(compare=False)

    async def run(self) -> None:
        self.listing.routes = None
        await self.errand.run()


@dataclass(frozen=True, slots=True)
class State:
    """``node``: None when it is gone. ``surplus`` are ours, of no node that there is."""

    node: Node | None
    routes: tuple[Route, ...]
    surplus: tuple[Route, ...]
    now: datetime
    failure: Failure | None = None


@dataclass(slots=True)
class Observer:
    routes: Routes
    told: CloudSettings
    listing: Listing = field(default_factory=Listing)

    def observe(self, view: View, key: Key) -> State | None:
        node = view.get(Node, "", key.name)
        if node is not None and (node.metadata.deletion_timestamp is not None or not cidrs_of(node)):
            return None
        ours = [one for one in self._listed(view) if self._is_ours(one)]
        mine = tuple(one for one in ours if one.node == key.name and node is not None)
        surplus = tuple(one for one in ours if view.get(Node, "", one.node) is None)
        return State(node, mine, surplus, view.now, view.failure)

    def _listed(self, view: View) -> tuple[Route, ...]:
        at, period = self.listing.at, self.told.route_reconciliation_period
        if self.listing.routes is None or at is None or (view.now - at).total_seconds() >= period:
            self.listing.routes = view.told(ListRoutes(self.routes, self.told.cluster))
            self.listing.at = view.now
        return self.listing.routes

    def _is_ours(self, route: Route) -> bool:
        try:
            found = ip_network(route.destination, strict=False)
        except ValueError:
            return False
        return any(
            found.version == cluster.version and found.overlaps(cluster)
            for cluster in self.told.cluster_cidrs
        )


def cidrs_of(node: Node) -> tuple[str, ...]:
    return node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())


def diff(routes: Routes, cluster: str, listing: Listing, state: State) -> Iterable[Action]:
    node = state.node
    failed = state.failure if state.failure is not None and isinstance(state.failure.action, Send) else None
    if node is not None and failed is not None:
        text = f"Could not create route for node {node.metadata.name}: {failed.error}"
        yield Emit(node, "Warning", "FailedToCreateRoute", text)
        yield from _condition(node, state.now, available=False)
    wanted = _wanted(node) if node is not None else {}
    stale = [one for one in state.routes if not _fits(one, wanted.get(one.destination))]
    for one in (*state.surplus, *stale):
        yield Send(Change(DeleteRoute(routes, cluster, one), listing))
    there = {one.destination for one in state.routes if one not in stale}
    missing = [route for destination, route in wanted.items() if destination not in there]
    for one in missing:
        yield Send(Change(CreateRoute(routes, cluster, one), listing))
    # After a failure the loop comes here once more, when all is well: then it is taken back.
    if node is not None and failed is None:
        yield from _condition(node, state.now, available=True)


def _wanted(node: Node) -> dict[str, Route]:
    addresses = tuple(one.address for one in node.status.addresses if one.type == "InternalIP")
    return {cidr: Route(node.metadata.name, cidr, addresses) for cidr in cidrs_of(node)}


def _fits(route: Route, wanted: Route | None) -> bool:
    """A cloud that does not say by which addresses it reaches a node is believed."""
    return wanted is not None and (not route.addresses or set(route.addresses) <= set(wanted.addresses))


def _condition(node: Node, now: datetime, *, available: bool) -> Iterable[Action]:
    wanted = "False" if available else "True"
    old = condition(node, UNAVAILABLE)
    if old is not None and old.status == wanted:
        return
    when = now.replace(microsecond=0)
    fresh = NodeCondition(
        type=UNAVAILABLE,
        status=wanted,
        reason="RouteCreated" if available else "NoRouteCreated",
        message=f"RouteController {'created a route' if available else 'failed to create a route'}",
        last_heartbeat_time=when,
        last_transition_time=when,
    )
    others = tuple(one for one in node.status.conditions if one.type != UNAVAILABLE)
    yield PatchStatus(node, replace(node, status=replace(node.status, conditions=(*others, fresh))))


def controller(routes: Routes, told: CloudSettings) -> Controller[State]:
    observer = Observer(routes, told)
    return Controller(
        "node-route-controller",
        Node,
        observer.observe,
        partial(diff, routes, told.cluster, observer.listing),
        workers=1,
        every=told.route_reconciliation_period,
        component="route-controller",
    )
