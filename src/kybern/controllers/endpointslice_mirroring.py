"""Mirror Endpoints that people write themselves to EndpointSlices, which is what proxies read.

Reads Endpoints, Service. Writes EndpointSlice, only those that this controller's label marks as its own. Only Endpoints of
a service without a selector are mirrored: the others have slices of their own. One slice stands for the addresses of one
family and one set of ports; a slice that is not needed any more is used for other ports before a new one is made.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from kybern.api.core_v1 import EndpointAddress, Endpoints, EndpointSubset, ObjectReference, Service
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.controller import Action, Controller, Create, Delete, Emit, Key, Patch, View
from kybern.loop.owners import controller_reference
from kybern.loop.services import TRIGGER
from kybern.loop.settings import Settings
from kybern.loop.slices import MANAGED_BY, SERVICE, by_service, fresh_name
from kybern.machinery.struct import replace

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED = frozenset({TRIGGER, "kubectl.kubernetes.io/last-applied-configuration"})

type Group = tuple[str, tuple[EndpointPort, ...]]
type Identity = tuple[str, str, str, ObjectReference | None]


@dataclass(frozen=True, slots=True)
class State:
    """``endpoints`` None: nothing is to be mirrored."""

    endpoints: Endpoints | None
    slices: tuple[EndpointSlice, ...]
    limit: int


@dataclass(slots=True)
class Wanted:
    groups: dict[Group, dict[Identity, Endpoint]] = field(default_factory=lambda: defaultdict(dict))
    invalid: int = 0
    surplus: int = 0


def observing(limit: int) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        endpoints, service = view.get(Endpoints, *key), view.get(Service, *key)
        slices = view.index(EndpointSlice, "mirror/service", f"{key.namespace}/{key.name}")
        found = tuple(sorted(slices, key=lambda one: one.metadata.name))
        if endpoints is None or service is None or service.spec.selector or not is_mirrored(endpoints):
            return State(None, found, limit) if found else None
        return State(endpoints, found, limit)

    return observe


def is_mirrored(endpoints: Endpoints) -> bool:
    """Not what is marked so, nor what somebody uses as a lock."""
    metadata = endpoints.metadata
    return metadata.labels.get(SKIP) != "true" and LEADER not in metadata.annotations


def endpoint_of(address: EndpointAddress, *, ready: bool) -> Endpoint:
    """Raises ValueError for what is no address."""
    return Endpoint(
        addresses=(str(ip_address(address.ip)),),
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def wanted(endpoints: Endpoints, limit: int) -> Wanted:
    found = Wanted()
    for subset in endpoints.subsets:
        _add(subset, found, limit)
    return found


def _add(subset: EndpointSubset, found: Wanted, limit: int) -> None:
    ports = tuple(
        EndpointPort(
            name=port.name, port=port.port, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
        )
        for port in subset.ports
    )
    added = 0
    addresses = [(one, True) for one in subset.addresses]
    addresses += [(one, False) for one in subset.not_ready_addresses]
    for address, ready in addresses:
        try:
            endpoint = endpoint_of(address, ready=ready)
        except ValueError:
            found.invalid += 1
            continue
        if added >= limit:
            found.surplus += 1
            continue
        family = f"IPv{ip_address(endpoint.addresses[0]).version}"
        identity = (endpoint.addresses[0], endpoint.hostname, endpoint.node_name, endpoint.target_ref)
        # The first of two that are the same counts, and within a subset the ready ones come first.
        found.groups[family, ports].setdefault(identity, endpoint)
        added += 1


def _shape(endpoints: Endpoints) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations of the slices."""
    metadata = endpoints.metadata
    labels = {**metadata.labels, SERVICE: metadata.name, MANAGED_BY: MANAGER}
    return labels, {key: value for key, value in metadata.annotations.items() if key not in _NOT_COPIED}


def diff(state: State) -> Iterable[Action]:
    if state.endpoints is None:
        yield from map(Delete, state.slices)
        return
    endpoints, found = state.endpoints, wanted(state.endpoints, state.limit)
    yield from _told(endpoints, found, state.limit)
    chosen, left = _matched(found.groups, state.slices)
    taken = {one.metadata.name for one in state.slices}
    for group, content in found.groups.items():
        yield from _slice(endpoints, group, tuple(content.values()), chosen.get(group), taken)
    yield from map(Delete, left)


def _matched(
    groups: Iterable[Group], slices: Iterable[EndpointSlice]
) -> tuple[dict[Group, EndpointSlice], list[EndpointSlice]]:
    """A slice for each group, and the slices that are left: first those with the same ports, then any of the family."""
    chosen: dict[Group, EndpointSlice] = {}
    left = list(slices)
    for exact in (True, False):
        for group in groups:
            match = next((one for one in left if _fits(one, group, exact=exact)), None)
            if group not in chosen and match is not None:
                chosen[group] = match
                left.remove(match)
    return chosen, left


def _fits(one: EndpointSlice, group: Group, *, exact: bool) -> bool:
    return (one.address_type, one.ports) == group if exact else one.address_type == group[0]


def _told(endpoints: Endpoints, found: Wanted, limit: int) -> Iterable[Action]:
    if found.invalid:
        text = f"Skipped {found.invalid} invalid IP addresses when mirroring to EndpointSlices"
        yield Emit(endpoints, "Warning", "InvalidIPAddress", text)
    if found.surplus:
        text = (
            f"A max of {limit} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            f"{found.surplus} addresses were skipped"
        )
        yield Emit(endpoints, "Warning", "TooManyAddressesToMirror", text)


def _slice(
    endpoints: Endpoints,
    group: Group,
    content: tuple[Endpoint, ...],
    old: EndpointSlice | None,
    taken: set[str],
) -> Iterable[Action]:
    (labels, annotations), owner = _shape(endpoints), (controller_reference(endpoints),)
    if old is not None:
        metadata = replace(old.metadata, labels=labels, annotations=annotations, owner_references=owner)
        new = replace(old, endpoints=content, ports=group[1], metadata=metadata)
        if new != old:
            yield Patch(old, new)
    elif endpoints.metadata.deletion_timestamp is None:
        name = fresh_name(endpoints, taken)
        taken.add(name)
        metadata = ObjectMeta(
            name=name,
            generate_name=f"{endpoints.metadata.name}-",
            namespace=endpoints.metadata.namespace,
            labels=labels,
            annotations=annotations,
            owner_references=owner,
        )
        yield Create(
            EndpointSlice(metadata=metadata, address_type=group[0], ports=group[1], endpoints=content)
        )


def of_service(service: Service, _view: View) -> Iterable[Key]:
    yield Key(service.metadata.namespace, service.metadata.name)


def of_slice(one: EndpointSlice, _view: View) -> Iterable[Key]:
    if one.metadata.labels.get(MANAGED_BY) == MANAGER:
        yield Key(one.metadata.namespace, one.metadata.labels.get(SERVICE, ""))


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "endpointslice-mirroring-controller",
        Endpoints,
        observing(settings.max_mirrored_endpoints),
        diff,
        watches=((Service, of_service), (EndpointSlice, of_slice)),
        indexes=((EndpointSlice, "mirror/service", by_service(MANAGER)),),
        component="endpointslicemirroring-controller",
        source="endpoint-slice-mirroring-controller",
    )
