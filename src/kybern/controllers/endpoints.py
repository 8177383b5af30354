"""Keep one Endpoints object per service with a selector: the addresses of its pods.

Reads Service, Pod. Writes Endpoints. An Endpoints object goes with its service; one that never had a service stays. At most
a thousand addresses are written; the annotation says when there were more.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from kybern.api.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    ObjectReference,
    Pod,
    Service,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.controller import Action, Controller, Create, Delete, Emit, Key, Patch, View
from kybern.loop.pods import is_ready
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
from kybern.machinery import times
from kybern.machinery.struct import replace

CAPACITY = 1000
OVER = "endpoints.kubernetes.io/over-capacity"
# Written by upstream's API server and controller manager since they mirror nothing back into slices.
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
LEADER = "control-plane.alpha.kubernetes.io/leader"

type Ports = tuple[EndpointPort, ...]


@dataclass(frozen=True, slots=True)
class State:
    service: Service | None
    pods: tuple[Pod, ...]
    current: Endpoints | None
    failure: str = ""


def observe(view: View, key: Key) -> State | None:
    service = view.get(Service, *key)
    pods = candidates(service, view, terminating=False) if service is not None else ()
    failure = view.failure.error.message if view.failure is not None else ""
    return State(service, pods, view.get(Endpoints, *key), failure)


def address_of(pod: Pod, service: Service) -> EndpointAddress | None:
    """The pod's address of the service's family."""
    version = 6 if (service.spec.ip_families or ("IPv4",))[0] == "IPv6" else 4
    ips = [one.ip for one in pod.status.pod_ips] or [pod.status.pod_ip]
    found = next((ip for ip in ips if ip_address(ip).version == version), None)
    if found is None:
        return None
    target = ObjectReference(
        kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
    )
    return EndpointAddress(
        ip=found, node_name=pod.spec.node_name, hostname=hostname_of(pod, service), target_ref=target
    )


def ports_of(pod: Pod, service: Service) -> Ports:
    found = ((port, port_of(pod, port)) for port in service.spec.ports)
    return tuple(
        EndpointPort(
            name=port.name, port=number, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
        )
        for port, number in found
        if number is not None
    )


def subsets_of(service: Service, pods: Iterable[Pod]) -> tuple[EndpointSubset, ...]:
    """Addresses with the same ports are one subset; all in a fixed order."""
    ready: defaultdict[Ports, list[EndpointAddress]] = defaultdict(list)
    waiting: defaultdict[Ports, list[EndpointAddress]] = defaultdict(list)
    for pod in pods:
        address = address_of(pod, service)
        ports = tuple(sorted(ports_of(pod, service), key=_by_port))
        if (
            address is None
            or (service.spec.ports and not ports)
            or (not service.spec.ports and not is_headless(service))
        ):
            continue
        goes = ready if service.spec.publish_not_ready_addresses or is_ready(pod) else waiting
        goes[ports].append(address)
    keys = sorted({*ready, *waiting}, key=lambda ports: [_by_port(port) for port in ports])
    return tuple(
        EndpointSubset(
            addresses=tuple(sorted(ready[ports], key=_by_address)),
            not_ready_addresses=tuple(sorted(waiting[ports], key=_by_address)),
            ports=ports,
        )
        for ports in keys
    )


def _by_port(port: EndpointPort) -> tuple[str, int, str]:
    return port.name, port.port or 0, port.protocol


def _by_address(address: EndpointAddress) -> tuple[int, str]:
    return int(ip_address(address.ip)), address.target_ref.uid if address.target_ref else ""


def capped(subsets: tuple[EndpointSubset, ...]) -> tuple[EndpointSubset, ...]:
    """The first thousand addresses, ready ones before the others."""
    left = CAPACITY
    kept = []
    for subset in subsets:
        kept.append(replace(subset, addresses=subset.addresses[:left]))
        left -= len(kept[-1].addresses)
    found = []
    for subset in kept:
        found.append(replace(subset, not_ready_addresses=subset.not_ready_addresses[:left]))
        left -= len(found[-1].not_ready_addresses)
    return tuple(one for one in found if one.addresses or one.not_ready_addresses)


def wanted(state: State, service: Service) -> Endpoints:
    subsets = subsets_of(service, state.pods)
    kept = capped(subsets)
    old = state.current.metadata if state.current is not None else None
    labels = {key: value for key, value in service.metadata.labels.items() if key != HEADLESS}
    labels[MANAGED_BY] = MANAGER
    if is_headless(service):
        labels[HEADLESS] = ""
    annotations = dict(old.annotations) if old is not None else {}
    annotations.pop(OVER, None)
    if kept != subsets:
        annotations[OVER] = "truncated"
    metadata = old or ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace)
    return Endpoints(metadata=replace(metadata, labels=labels, annotations=annotations), subsets=kept)


def diff(state: State) -> Iterable[Action]:
    service, current = state.service, state.current
    if service is None:
        if current is not None and LEADER not in current.metadata.annotations:
            yield Delete(current)
        return
    if (
        not service.spec.selector
        or service.spec.type == "ExternalName"
        or service.metadata.deletion_timestamp is not None
    ):
        return
    if state.failure:
        verb = "create endpoint for service" if current is None else "update endpoint"
        name = f"{service.metadata.namespace}/{service.metadata.name}"
        reason = "FailedToCreateEndpoint" if current is None else "FailedToUpdateEndpoint"
        yield Emit(
            current or wanted(state, service), "Warning", reason, f"Failed to {verb} {name}: {state.failure}"
        )
    new = wanted(state, service)
    if current is not None and new == current:
        return
    when = triggered(service, state.pods)
    if when is not None:
        annotations = {**new.metadata.annotations, TRIGGER: times.form(when)}
        new = replace(new, metadata=replace(new.metadata, annotations=annotations))
    yield Create(new) if current is None else Patch(current, new)


def itself(endpoints: Endpoints, view: View) -> Iterable[Key]:
    """Of a service that is there, or was: somebody may make Endpoints before their service, and they stay."""
    key = Key(endpoints.metadata.namespace, endpoints.metadata.name)
    if view.get(Service, *key) is not None or endpoints.metadata.labels.get(MANAGED_BY) == MANAGER:
        yield key


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "endpoints-controller",
        Service,
        observe,
        diff,
        watches=((Pod, services_of), (Endpoints, itself)),
        indexes=INDEXES,
        component="endpoint-controller",
    )
