"""What the proxy needs to know of Services and EndpointSlices, free of everything else. Pure.

A Service becomes one ``ServicePort`` for each of its ports, with the endpoints that may answer there. Headless services
(clusterIP None), ExternalName ones, and those labelled for another proxy are left alone, as upstream does
(pkg/proxy/servicechangetracker.go, pkg/proxy/topology.go).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kybern.api.core_v1 import Service
from kybern.api.core_v1 import ServicePort as PortSpec
from kybern.api.discovery_v1 import Endpoint as SliceEndpoint
from kybern.api.discovery_v1 import EndpointSlice
from kybern.proxy.families import version_of
from kybern.proxy.topology import Place, hints

OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"
SERVICE_NAME = "kubernetes.io/service-name"
DEFAULT_AFFINITY_SECONDS = 10800


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address that answers.

    ``local`` says that it is on this node; ``unplaced``, that nobody says where it is; ``near``, that its hints let this
    node use it.
    """

    ip: str
    port: int
    local: bool = False
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    near: bool = True
    unplaced: bool = False

    @property
    def address(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one service. ``affinity`` is the ClientIP time-out in seconds, 0 without affinity.

    ``health_check_port`` is where outside load balancers ask whether this node has endpoints of the service; 0 for none.
    """

    namespace: str
    service: str
    name: str
    protocol: str
    port: int
    cluster_ip: str
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity: int = 0
    external_local: bool = False
    internal_local: bool = False
    health_check_port: int = 0
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def title(self) -> str:
        """As upstream names it in comments: ``default/web:http``, ``default/web`` for a port without a name."""
        return f"{self.namespace}/{self.service}" + (f":{self.name}" if self.name else "")

    @property
    def is_external(self) -> bool:
        return bool(self.node_port or self.external_ips or self.balancer_ips)


def usable(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Those that are ready; where none is, those that still serve while they end (KEP-1669)."""
    found = tuple(endpoints)
    ready = tuple(one for one in found if one.ready)
    return ready or tuple(one for one in found if one.serving and one.terminating)


def preferred(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Those usable from anywhere that hints let this node use. Where no ready one is left, hints do not count."""
    return tuple(one for one in usable(endpoints) if one.near or not one.ready)


def service_ports(
    service: Service, slices: Iterable[EndpointSlice], place: Place, versions: Sequence[int] = (4,)
) -> tuple[ServicePort, ...]:
    """Every port of a service that is served, with the endpoints of its slices, for each version of IP that it has."""
    if not is_ours(service):
        return ()
    spec, parts = service.spec, tuple(slices)
    found: list[ServicePort] = []
    for version in versions:
        ours = [part for part in parts if part.address_type == f"IPv{version}"]
        for ip in spec.cluster_ips or (spec.cluster_ip,):
            if version_of(ip) == version:
                found += (_port(service, port, ip, ours, place) for port in spec.ports)
    return tuple(found)


def is_ours(service: Service) -> bool:
    labels, spec = service.metadata.labels, service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
        return False
    return OTHER_PROXY not in labels and HEADLESS not in labels


def _port(
    service: Service, port: PortSpec, cluster_ip: str, slices: Iterable[EndpointSlice], place: Place
) -> ServicePort:
    spec, version = service.spec, version_of(cluster_ip)
    external = spec.type in ("NodePort", "LoadBalancer")
    ingress = service.status.load_balancer.ingress if service.status.load_balancer else ()
    balancers = (one.ip for one in ingress if one.ip and one.ip_mode in ("", "VIP"))

    def of_it(addresses: Iterable[str]) -> tuple[str, ...]:
        return tuple(one.strip() for one in addresses if version_of(one) == version)

    return ServicePort(
        namespace=service.metadata.namespace,
        service=service.metadata.name,
        name=port.name,
        protocol=port.protocol or "TCP",
        port=port.port or 0,
        cluster_ip=cluster_ip,
        node_port=(port.node_port or 0) if external else 0,
        external_ips=of_it(spec.external_ips),
        balancer_ips=of_it(balancers) if spec.type == "LoadBalancer" else (),
        source_ranges=of_it(spec.load_balancer_source_ranges),
        affinity=_affinity(service),
        external_local=spec.external_traffic_policy == "Local",
        internal_local=spec.internal_traffic_policy == "Local",
        health_check_port=_health_check_port(service),
        endpoints=tuple(sorted(set(_endpoints(slices, port, place)))),
    )


def _affinity(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return seconds or DEFAULT_AFFINITY_SECONDS


def _health_check_port(service: Service) -> int:
    spec = service.spec
    asked = spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"
    return (spec.health_check_node_port or 0) if asked else 0


def _endpoints(slices: Iterable[EndpointSlice], port: PortSpec, place: Place) -> Iterator[Endpoint]:
    found = [(one, number) for part in slices if (number := _number(part, port)) for one in part.endpoints]
    is_near = hints([one for one, _ in found if _is_ready(one)], place)
    for one, number in found:
        if one.addresses:
            yield _endpoint(one, number, place, near=is_near(one))


def _number(part: EndpointSlice, port: PortSpec) -> int:
    """Where the endpoints of a slice listen for a port of the service; 0 when they do not."""
    protocol = port.protocol or "TCP"
    return next(
        (
            one.port or 0
            for one in part.ports
            if one.name == port.name and (one.protocol or "TCP") == protocol
        ),
        0,
    )


def _is_ready(one: SliceEndpoint) -> bool:
    return one.conditions is None or one.conditions.ready is None or one.conditions.ready


def _endpoint(one: SliceEndpoint, port: int, place: Place, *, near: bool) -> Endpoint:
    known, ready = one.conditions, _is_ready(one)
    return Endpoint(
        ip=one.addresses[0],
        port=port,
        local=one.node_name == place.node,
        ready=ready,
        serving=ready if known is None or known.serving is None else known.serving,
        terminating=bool(known and known.terminating),
        near=near,
        unplaced=not one.node_name,
    )
