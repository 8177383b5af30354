"""Have the cloud balance services of type LoadBalancer that name no loadBalancerClass.

Reads Service, Node. Writes Service.metadata.finalizers, Service.status.

    wanted                       -> finalizer, ensure, status     everything once a leader, then what changed
    other nodes behind it        -> update
    no more wanted, or deleted   -> delete, status, no finalizer

Nodes stay behind balancers while they are not ready: the cloud looks itself whether a node answers, and connections of
one that only lost its way to the API server go on (KEP-3458). For the same reason the mark of the autoscaler alone is no
occasion to take a node out; it is left out when something else is one.

The finalizer comes before the balancer and goes after it, so that none is left behind whatever dies in between. What was
ensured is remembered by this process alone: a new leader ensures all services once, which changes nothing (as upstream's).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kybern.api.core_v1 import LoadBalancerIngress, LoadBalancerStatus, Node, Service
from kybern.cloud.errands import DeleteBalancer, EnsureBalancer, UpdateBalancer
from kybern.cloud.marks import EXCLUDED, TO_BE_DELETED, has_taint
from kybern.cloud.provider import LoadBalancers
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Emit,
    Failure,
    Key,
    Patch,
    PatchStatus,
    Send,
    View,
    WhenChanged,
)
from kybern.machinery.struct import replace

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"


@dataclass(frozen=True, slots=True)
class Ensured:
    """What a balancer was made of, and where it is."""

    uid: str
    of: Any
    nodes: tuple[tuple[str, str], ...]
    ingress: tuple[LoadBalancerIngress, ...]


@dataclass(slots=True)
class Memory:
    """What this process has ensured, by service."""

    ensured: dict[Key, Ensured] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ensure:
    """Ensure a balancer, and remember that."""

    errand: EnsureBalancer
    memory: Memory = field(compare=False)

    async def run(self) -> None:
        service, nodes = self.errand.service, self.errand.nodes
        ingress = await self.errand.run()
        uid = service.metadata.uid
        self.memory.ensured[_key(service)] = Ensured(uid, made_of(service), known_by(nodes), ingress)


@dataclass(frozen=True, slots=True)
class Update:
    errand: UpdateBalancer
    memory: Memory = field(compare=False)

    async def run(self) -> None:
        await self.errand.run()
        key, nodes = _key(self.errand.service), known_by(self.errand.nodes)
        old = self.memory.ensured[key]
        self.memory.ensured[key] = Ensured(old.uid, old.of, nodes, old.ingress)


@dataclass(frozen=True, slots=True)
class State:
    service: Service
    nodes: tuple[Node, ...]
    ensured: Ensured | None = None
    failure: Failure | None = None


def _key(service: Service) -> Key:
    return Key(service.metadata.namespace, service.metadata.name)


def known_by(nodes: Iterable[Node]) -> tuple[tuple[str, str], ...]:
    """Names and provider IDs: some clouds find machines by the one, some by the other."""
    return tuple((node.metadata.name, node.spec.provider_id) for node in nodes)


def made_of(service: Service) -> Any:
    """What a balancer depends on, as needsUpdate of upstream's controller lists it."""
    spec = service.spec
    return (
        spec.load_balancer_source_ranges,
        spec.ports,
        spec.session_affinity,
        spec.session_affinity_config,
        spec.load_balancer_ip,
        spec.external_ips,
        dict(service.metadata.annotations),
        spec.external_traffic_policy,
        spec.health_check_node_port,
        len(spec.ip_families),
    )


def wants_balancer(service: Service) -> bool:
    """One with a class is another controller's, and the class cannot change."""
    return (
        service.spec.type == "LoadBalancer"
        and not service.spec.load_balancer_class
        and service.metadata.deletion_timestamp is None
    )


def needs_cleanup(service: Service) -> bool:
    """Whether a balancer may have to go. The finalizer of one with a class, which is not deleted, is that class's."""
    is_over = service.metadata.deletion_timestamp is not None or service.spec.type != "LoadBalancer"
    return is_over and FINALIZER in service.metadata.finalizers


def takes_traffic(node: Node) -> bool:
    """Whether a node stands behind balancers."""
    return _is_included(node) and not has_taint(node, TO_BE_DELETED)


def _is_included(node: Node) -> bool:
    return node.metadata.deletion_timestamp is None and EXCLUDED not in node.metadata.labels


def _occasion(node: Node) -> Any:
    """What of a node makes balancers be looked at, as shouldSyncUpdatedNode of upstream's controller has it."""
    return EXCLUDED in node.metadata.labels, node.spec.provider_id


def observe(memory: Memory, view: View, key: Key) -> State | None:
    service = view.get(Service, key.namespace, key.name)
    if service is None or not wants_balancer(service):
        memory.ensured.pop(key, None)
    if service is None or not (wants_balancer(service) or needs_cleanup(service)):
        return None
    nodes = sorted(filter(takes_traffic, view.list(Node)), key=lambda node: node.metadata.name)
    ensured = memory.ensured.get(key)
    known = ensured if ensured is not None and ensured.uid == service.metadata.uid else None
    return State(service, tuple(nodes), known, view.failure)


def diff(balancers: LoadBalancers, cluster: str, memory: Memory, state: State) -> Iterable[Action]:
    service, nodes, ensured = state.service, state.nodes, state.ensured
    if state.failure is not None and isinstance(state.failure.action, Send):
        yield _failed(service, state.failure.action.errand, state.failure)
    if not wants_balancer(service):
        yield from _removed(balancers, cluster, service)
    elif FINALIZER not in service.metadata.finalizers:
        yield _held(service, (*service.metadata.finalizers, FINALIZER))
    elif ensured is None or ensured.of != made_of(service):
        yield Emit(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        yield from _without_nodes(service, nodes)
        yield Send(Ensure(EnsureBalancer(balancers, cluster, service, nodes), memory))
        yield Emit(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        yield Again(0.0)
    elif ensured.ingress != _ingress(service):
        # Its change brings the service here again: before other nodes, which nothing follows.
        yield _told(service, ensured.ingress)
    elif ensured.nodes != known_by(nodes):
        yield Send(Update(UpdateBalancer(balancers, cluster, service, nodes), memory))
        if nodes:
            yield Emit(service, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")
        yield from _without_nodes(service, nodes)


def _failed(service: Service, errand: Any, failure: Failure) -> Emit:
    if isinstance(errand, Update):
        hosts = sorted(node.metadata.name for node in errand.errand.nodes)
        text = f"Error updating load balancer with new hosts [{' '.join(hosts)}]: {failure.error}"
        return Emit(service, "Warning", "UpdateLoadBalancerFailed", text)
    verb = "ensure" if isinstance(errand, Ensure) else "delete"
    text = f"Error syncing load balancer: failed to {verb} load balancer: {failure.error}"
    return Emit(service, "Warning", "SyncLoadBalancerFailed", text)


def _removed(balancers: LoadBalancers, cluster: str, service: Service) -> Iterable[Action]:
    """The status first: nobody is to be sent to a balancer that goes. Its change brings the service here again."""
    if _ingress(service) and service.metadata.deletion_timestamp is None:
        yield _told(service, ())
        return
    yield Emit(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
    yield Send(DeleteBalancer(balancers, cluster, service))
    yield Emit(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
    yield _held(service, tuple(one for one in service.metadata.finalizers if one != FINALIZER))


def _without_nodes(service: Service, nodes: tuple[Node, ...]) -> Iterable[Action]:
    if not nodes:
        text = "There are no available nodes for LoadBalancer"
        yield Emit(service, "Warning", "UnAvailableLoadBalancer", text)


def _ingress(service: Service) -> tuple[LoadBalancerIngress, ...]:
    balancer = service.status.load_balancer
    return balancer.ingress if balancer is not None else ()


def _told(service: Service, ingress: tuple[LoadBalancerIngress, ...]) -> PatchStatus:
    status = replace(service.status, load_balancer=LoadBalancerStatus(ingress=ingress))
    return PatchStatus(service, replace(service, status=status))


def _held(service: Service, finalizers: tuple[str, ...]) -> Patch:
    return Patch(service, replace(service, metadata=replace(service.metadata, finalizers=finalizers)))


def _all_services(_node: Node, view: View) -> Iterable[Key]:
    for service in view.list(Service):
        if wants_balancer(service):
            yield _key(service)


def controller(balancers: LoadBalancers, told: CloudSettings) -> Controller[State]:
    memory = Memory()
    return Controller(
        "service-lb-controller",
        Service,
        partial(observe, memory),
        partial(diff, balancers, told.cluster, memory),
        watches=((Node, WhenChanged(_occasion, _all_services)),),
        workers=told.concurrent_service_syncs,
        component="service-controller",
    )
