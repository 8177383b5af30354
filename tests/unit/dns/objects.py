"""Services and slices in one line each, and a zone made of them."""

from collections.abc import Iterable

from kybern.api.core_v1 import Service, ServicePort, ServiceSpec
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.dns.records import SERVICE_NAME, owner_of, records
from kybern.dns.zone import Zone

DOMAIN = "cluster.local"


def service(
    name: str, *addresses: str, namespace: str = "default", ports: Iterable[str] = ("http:80",)
) -> Service:
    """``ports`` as NAME:NUMBER or NAME:NUMBER/PROTOCOL; a service without an address is headless."""
    spec = ServiceSpec(
        type="ClusterIP",
        cluster_ip=addresses[0] if addresses else "None",
        cluster_ips=addresses or ("None",),
        ports=tuple(_port(text) for text in ports),
    )
    return Service(metadata=ObjectMeta(namespace=namespace, name=name), spec=spec)


def external(name: str, target: str) -> Service:
    spec = ServiceSpec(type="ExternalName", external_name=target)
    return Service(metadata=ObjectMeta(namespace="default", name=name), spec=spec)


def _port(text: str) -> ServicePort:
    name, _, rest = text.partition(":")
    number, _, protocol = rest.partition("/")
    return ServicePort(name=name, port=int(number), protocol=protocol or "TCP")


def endpoint(address: str, hostname: str = "", ready: bool | None = True) -> Endpoint:
    return Endpoint(addresses=(address,), hostname=hostname, conditions=EndpointConditions(ready=ready))


def slice_of(
    owner: str, *endpoints: Endpoint, ports: Iterable[str] = ("http:8080",), suffix: str = "a"
) -> EndpointSlice:
    first = endpoints[0].addresses[0] if endpoints else ""
    return EndpointSlice(
        metadata=ObjectMeta(namespace="default", name=f"{owner}-{suffix}", labels={SERVICE_NAME: owner}),
        address_type="IPv6" if ":" in first else "IPv4",
        endpoints=endpoints,
        ports=tuple(
            EndpointPort(name=one.name, port=one.port, protocol=one.protocol) for one in map(_port, ports)
        ),
    )


def by_service(slices: Iterable[EndpointSlice]) -> dict[tuple[str, str], list[EndpointSlice]]:
    """Slices by namespace and name of their service."""
    found: dict[tuple[str, str], list[EndpointSlice]] = {}
    for part in slices:
        if owner := owner_of(part):
            found.setdefault((part.metadata.namespace, owner), []).append(part)
    return found


def zone(services: Iterable[Service], slices: Iterable[EndpointSlice] = (), domain: str = DOMAIN) -> Zone:
    made = Zone(domain)
    made.set_namespaces({"default", "kube-system", "other"})
    owned = by_service(slices)
    for one in services:
        key = (one.metadata.namespace, one.metadata.name)
        made.put(key, records(one, owned.get(key, ()), domain))
    return made
