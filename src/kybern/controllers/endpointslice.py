"""Keep the EndpointSlices of every service with a selector: its pods, at most a hundred to a slice.

Reads Service, Pod, Node (for zones). Writes EndpointSlice, only those that this controller's label marks as its own. A
change touches as few slices as it can: an endpoint stays in the slice that it is in, new ones fill slices that have room.
Whom an endpoint is meant for says the service's trafficDistribution, or its topology-mode, which comes first.
Slices go with their service by garbage collection; they are named SERVICE-xxxxx.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from kybern.api.core_v1 import Node, ObjectReference, Pod, Service
from kybern.api.discovery_v1 import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForZone,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.controller import Action, Controller, Create, Delete, Emit, Key, Patch, View, WhenChanged
from kybern.loop.hints import hints_of
from kybern.loop.owners import controller_reference
from kybern.loop.pods import by_node, is_ready
from kybern.loop.services import (
    HEADLESS,
    INDEXES,
    TRIGGER,
    candidates,
    hostname_of,
    is_headless,
    port_of,
    services_of,
    triggered,
)
from kybern.loop.settings import Settings
from kybern.loop.slices import MANAGED_BY, SERVICE, by_service, fresh_name
from kybern.loop.zone_hints import ENABLED, ZONE, Refused, assign, capacity, cpu_by_zone, is_asked
from kybern.machinery import times
from kybern.machinery.struct import replace

MANAGER = "endpointslice-controller.k8s.io"

type Group = tuple[str, tuple[EndpointPort, ...]]


@dataclass(frozen=True, slots=True)
class State:
    service: Service
    pods: tuple[Pod, ...]
    # Of the nodes that are there and have such pods: names and zones.
    zones: tuple[tuple[str, str], ...]
    slices: tuple[EndpointSlice, ...]
    limit: int
    parts: Mapping[str, float] | None = None
    """Each zone's part of the CPUs, for a service whose topology-mode asks for it."""


def observing(limit: int) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        service = view.get(Service, *key)
        if service is None:
            return None
        pods = candidates(service, view, terminating=True)
        nodes = {pod.spec.node_name: view.get(Node, "", pod.spec.node_name) for pod in pods}
        zones = (
            (name, node.metadata.labels.get(ZONE, "")) for name, node in nodes.items() if node is not None
        )
        slices = view.index(EndpointSlice, "endpointslice/service", f"{key.namespace}/{key.name}")
        parts = cpu_by_zone(view.list(Node)) if is_asked(service.metadata.annotations) else None
        ordered = tuple(sorted(slices, key=lambda one: one.metadata.name))
        return State(service, pods, tuple(zones), ordered, limit, parts)

    return observe


def families(service: Service) -> tuple[str, ...]:
    return service.spec.ip_families or ("IPv4",)


def endpoint_of(pod: Pod, service: Service, family: str, zones: dict[str, str]) -> Endpoint | None:
    """None for a pod without an address of the family, and for one whose node is gone: nobody is there to end it."""
    gone = pod.spec.node_name and pod.spec.node_name not in zones
    if gone and not service.spec.publish_not_ready_addresses:
        return None
    version = 6 if family == "IPv6" else 4
    ips = [one.ip for one in pod.status.pod_ips] or [pod.status.pod_ip]
    addresses = tuple(ip for ip in ips if ip_address(ip).version == version)
    if not addresses:
        return None
    serving, terminating = is_ready(pod), pod.metadata.deletion_timestamp is not None
    ready = bool(service.spec.publish_not_ready_addresses) or (serving and not terminating)
    zone = zones.get(pod.spec.node_name, "")
    distribution = "" if is_asked(service.metadata.annotations) else service.spec.traffic_distribution
    return Endpoint(
        addresses=addresses,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hints=hints_of(distribution, ready=ready, zone=zone, node=pod.spec.node_name),
        hostname=hostname_of(pod, service),
        node_name=pod.spec.node_name,
        target_ref=ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
        zone=zone,
    )


def ports_of(pod: Pod, service: Service) -> tuple[EndpointPort, ...]:
    found = ((port, port_of(pod, port)) for port in service.spec.ports)
    return tuple(
        EndpointPort(
            name=port.name, port=number, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
        )
        for port, number in found
        if number is not None
    )


def wanted(state: State) -> dict[Group, list[Endpoint]]:
    """Endpoints by address family and ports; a family without any has one empty group, so that it shows as empty."""
    zones = dict(state.zones)
    found: defaultdict[Group, list[Endpoint]] = defaultdict(list)
    for family in families(state.service):
        for pod in state.pods:
            endpoint = endpoint_of(pod, state.service, family, zones)
            if endpoint is not None:
                found[family, ports_of(pod, state.service)].append(endpoint)
        if not any(group[0] == family for group in found):
            found[family, ()] = []
    return found


def labels_of(service: Service) -> dict[str, str]:
    reserved = {SERVICE, MANAGED_BY, HEADLESS}
    labels = {key: value for key, value in service.metadata.labels.items() if key not in reserved}
    if is_headless(service):
        labels[HEADLESS] = ""
    return {**labels, SERVICE: service.metadata.name, MANAGED_BY: MANAGER}


def _target(endpoint: Endpoint) -> str:
    return endpoint.target_ref.uid if endpoint.target_ref is not None else endpoint.addresses[0]


def spread(group: list[Endpoint], slices: list[EndpointSlice], limit: int) -> list[tuple[Endpoint, ...]]:
    """What each slice is to hold, then what fits into none: endpoints stay where they are, new ones fill gaps."""
    left = {_target(endpoint): endpoint for endpoint in group}
    kept: list[list[Endpoint]] = []
    for one in slices:
        stays = [_target(endpoint) for endpoint in one.endpoints if _target(endpoint) in left][:limit]
        kept.append([left.pop(target) for target in stays])
    for content in sorted(kept, key=len, reverse=True):
        while left and len(content) < limit:
            content.append(left.pop(next(iter(left))))
    rest = list(left.values())
    return [tuple(content) for content in kept] + [
        tuple(rest[start : start + limit]) for start in range(0, len(rest), limit)
    ]


def diff(state: State) -> Iterable[Action]:
    service = state.service
    if (
        not service.spec.selector
        or service.spec.type == "ExternalName"
        or service.metadata.deletion_timestamp is not None
    ):
        return
    existing: defaultdict[Group, list[EndpointSlice]] = defaultdict(list)
    for one in state.slices:
        existing[one.address_type, one.ports].append(one)
    taken = {one.metadata.name for one in state.slices}
    groups = wanted(state)
    for family in families(service):
        of_family = {group: endpoints for group, endpoints in groups.items() if group[0] == family}
        hinted, event = shared_out(state, family, of_family)
        changes: list[Action] = []
        for group, endpoints in hinted.items():
            contents = spread(endpoints, existing[group], state.limit)
            changes += _group(state, group, contents, existing[group], taken)
        yield from changes
        # Told once, with the change that it explains.
        yield from event if changes else ()
    for group, slices in existing.items():
        if group not in groups:
            yield from (Delete(one) for one in slices)


def shared_out(
    state: State, family: str, groups: dict[Group, list[Endpoint]]
) -> tuple[dict[Group, list[Endpoint]], tuple[Emit, ...]]:
    """The endpoints of a family with the zones that they are meant for, where that is asked; and what to tell."""
    if state.parts is None:
        return groups, ()
    before = [one for each in state.slices if each.address_type == family for one in each.endpoints]
    now = {_target(one): one.hints.for_zones[0].name for one in before if one.hints and one.hints.for_zones}
    ready = [one for found in groups.values() for one in found if _ready(one)]
    zones = assign([one.zone for one in ready], [now.get(_target(one), "") for one in ready], state.parts)
    if isinstance(zones, Refused):
        why = f"{zones.why}, addressType: {family}"
        return groups, (Emit(state.service, "Warning", "TopologyAwareHintsDisabled", why),)
    meant = {_target(one): zone for one, zone in zip(ready, zones, strict=True)}
    hinted = {group: [_meant(one, meant) for one in found] for group, found in groups.items()}
    if any(one.hints for each in state.slices for one in each.endpoints):
        return hinted, ()
    told = f"{ENABLED}, addressType: {family}"
    return hinted, (Emit(state.service, "Normal", "TopologyAwareHintsEnabled", told),)


def _ready(one: Endpoint) -> bool:
    return one.conditions is not None and bool(one.conditions.ready)


def _meant(one: Endpoint, zones: Mapping[str, str]) -> Endpoint:
    zone = zones.get(_target(one), "") if _ready(one) else ""
    return replace(one, hints=EndpointHints(for_zones=(ForZone(name=zone),))) if zone else one


def _group(
    state: State,
    group: Group,
    contents: list[tuple[Endpoint, ...]],
    slices: list[EndpointSlice],
    taken: set[str],
) -> Iterable[Action]:
    """One group's slices: those that are there are changed or, when empty and not the last one, deleted; others made."""
    labels, owner = labels_of(state.service), (controller_reference(state.service),)
    keep_one_empty = not any(contents)
    for old, content in zip(slices, contents, strict=False):
        if not content and not keep_one_empty:
            yield Delete(old)
            continue
        keep_one_empty = False
        metadata = replace(old.metadata, labels=labels, owner_references=owner)
        new = replace(old, endpoints=content, metadata=metadata)
        if new != old:
            yield Patch(old, _stamped(new, state))
    for content in contents[len(slices) :] or ([()] if keep_one_empty else []):
        name = fresh_name(state.service, taken)
        taken.add(name)
        metadata = ObjectMeta(
            name=name,
            generate_name=f"{state.service.metadata.name}-",
            namespace=state.service.metadata.namespace,
            labels=labels,
            owner_references=owner,
        )
        made = EndpointSlice(metadata=metadata, address_type=group[0], ports=group[1], endpoints=content)
        yield Create(_stamped(made, state))


def _stamped(one: EndpointSlice, state: State) -> EndpointSlice:
    when = triggered(state.service, state.pods)
    if when is None:
        return one
    annotations = {**one.metadata.annotations, TRIGGER: times.form(when)}
    return replace(one, metadata=replace(one.metadata, annotations=annotations))


def service_of(one: EndpointSlice, _view: View) -> Iterable[Key]:
    if one.metadata.labels.get(MANAGED_BY) == MANAGER:
        yield Key(one.metadata.namespace, one.metadata.labels.get(SERVICE, ""))


def services_on(node: Node, view: View) -> Iterable[Key]:
    """The services with pods on a node: they are endpoints while it is there, and its zone is told with them."""
    for pod in view.index(Pod, "node", node.metadata.name):
        yield from services_of(pod, view)


def zone_of(node: Node) -> str:
    return node.metadata.labels.get(ZONE, "")


def by_mode(service: Service) -> Iterable[str]:
    """Index: the services that are shared out among the zones."""
    if is_asked(service.metadata.annotations):
        yield "Auto"


def services_by_zone(_node: Node, view: View) -> Iterable[Key]:
    for service in view.index(Service, "endpointslice/topology-mode", "Auto"):
        yield Key(service.metadata.namespace, service.metadata.name)


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "endpointslice-controller",
        Service,
        observing(settings.max_endpoints_per_slice),
        diff,
        watches=(
            (Pod, services_of),
            (EndpointSlice, service_of),
            (Node, WhenChanged(zone_of, services_on)),
            (Node, WhenChanged(capacity, services_by_zone)),
        ),
        indexes=(
            *INDEXES,
            (Pod, "node", by_node),
            (EndpointSlice, "endpointslice/service", by_service(MANAGER)),
            (Service, "endpointslice/topology-mode", by_mode),
        ),
        source="endpoint-slice-controller",
    )
