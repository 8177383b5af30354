"""What Ingresses depend on, looked up by name; and which Ingresses are ours. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kybern.api.core_v1 import Secret, Service, ServicePort
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from kybern.api.networking_v1 import Ingress, IngressClass, ServiceBackendPort

CONTROLLER = "kybern.io/ingress"
OLD_CLASS = "kubernetes.io/ingress.class"
SERVICE = "kubernetes.io/service-name"

type Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class World:
    """``slices`` are by the service that they belong to."""

    ingresses: tuple[Ingress, ...] = ()
    services: Mapping[Key, Service] = field(default_factory=dict)
    slices: Mapping[Key, tuple[EndpointSlice, ...]] = field(default_factory=dict)
    secrets: Mapping[Key, Secret] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        classes: Iterable[IngressClass],
        ingresses: Iterable[Ingress],
        services: Iterable[Service],
        slices: Iterable[EndpointSlice],
        secrets: Iterable[Secret],
    ) -> "World":
        names = ours(classes)
        by_service: defaultdict[Key, list[EndpointSlice]] = defaultdict(list)
        for one in slices:
            by_service[one.metadata.namespace, one.metadata.labels.get(SERVICE, "")].append(one)
        return cls(
            tuple(sorted((one for one in ingresses if class_of(one) in names), key=age)),
            {(one.metadata.namespace, one.metadata.name): one for one in services},
            {
                key: tuple(sorted(found, key=lambda one: one.metadata.name))
                for key, found in by_service.items()
            },
            {(one.metadata.namespace, one.metadata.name): one for one in secrets},
        )


def ours(classes: Iterable[IngressClass]) -> frozenset[str]:
    """Names of the classes that are this controller's."""
    return frozenset(one.metadata.name for one in classes if one.spec.controller == CONTROLLER)


def class_of(ingress: Ingress) -> str:
    """Empty for one that names none: those that are to have the default class were given it by admission."""
    return ingress.spec.ingress_class_name or ingress.metadata.annotations.get(OLD_CLASS, "")


def age(ingress: Ingress) -> tuple[str, str, str]:
    """The oldest first: where two want the same, it is the one that was there."""
    created = ingress.metadata.creation_timestamp
    return created.isoformat() if created else "", ingress.metadata.namespace, ingress.metadata.name


def port_of(service: Service, wanted: ServiceBackendPort) -> ServicePort | None:
    """The TCP port of a service that a backend names, or numbers; UDP may have the same number."""
    for port in service.spec.ports:
        if (port.protocol or "TCP") != "TCP":
            continue
        if wanted.name == port.name if wanted.name else wanted.number == port.port:
            return port
    return None


def addresses(slices: Iterable[EndpointSlice], port: ServicePort, family: str) -> tuple[tuple[str, int], ...]:
    """Address and port of each endpoint that is ready; where none is, of those that end and still serve."""
    ready: set[tuple[str, int]] = set()
    ending: set[tuple[str, int]] = set()
    for one in slices:
        number = next((found.port for found in one.ports if found.name == port.name), None)
        if one.address_type != family or not number:
            continue
        for endpoint in one.endpoints:
            conditions = endpoint.conditions or EndpointConditions()
            if conditions.ready is not False:
                ready |= set(_ends(endpoint, number))
            elif conditions.serving and conditions.terminating:
                ending |= set(_ends(endpoint, number))
    return tuple(sorted(ready or ending))


def _ends(endpoint: Endpoint, number: int) -> Iterator[tuple[str, int]]:
    # All addresses of an endpoint are the same pod's; upstream uses the first.
    yield from ((address, number) for address in endpoint.addresses[:1])
