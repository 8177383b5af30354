"""What the proxy needs to know of Services and EndpointSlices, free of everything else. Pure.

A Service becomes one ``ServicePort`` for each of its ports, with the endpoints that may answer there. Headless services
(clusterIP None), ExternalName ones, and those labelled for another proxy are left alone, as upstream does
(pkg/proxy/servicechangetracker.go, pkg/proxy/topology.go).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kybern.api.core_v1 import Service
from kybern.api.core_v1 import ServicePort as PortSpec
from kybern.api.discovery_v1 import Endpoint as SliceEndpoint
from kybern.api.discovery_v1 import EndpointSlice

OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"
SERVICE_NAME = "kubernetes.io/service-name"
DEFAULT_AFFINITY_SECONDS = 10800


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address that answers. ``local`` says that it is on this node."""

    ip: str
    port: int
    local: bool = False
    ready: bool = True
    serving: bool = True
    terminating: bool = False

    @property
    def address(self) -> str:
        return f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one service. ``affinity`` is the ClientIP time-out in seconds, 0 without affinity."""

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


def service_ports(
    services: Iterable[Service], slices: Iterable[EndpointSlice], node: str
) -> tuple[ServicePort, ...]:
    """Every port to be served, sorted by name so that the same state always gives the same rules."""
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for part in slices:
        owner = part.metadata.labels.get(SERVICE_NAME, "")
        if owner and part.address_type == "IPv4":
            by_service.setdefault((part.metadata.namespace, owner), []).append(part)
    found = [
        _port(service, port, by_service.get((service.metadata.namespace, service.metadata.name), ()), node)
        for service in services
        if is_ours(service)
        for port in service.spec.ports
    ]
    return tuple(sorted(found, key=lambda one: (one.namespace, one.service, one.name, one.protocol)))


def is_ours(service: Service) -> bool:
    labels, spec = service.metadata.labels, service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None") or ":" in spec.cluster_ip:
        return False
    return OTHER_PROXY not in labels and HEADLESS not in labels


def _port(service: Service, port: PortSpec, slices: Iterable[EndpointSlice], node: str) -> ServicePort:
    spec = service.spec
    external = spec.type in ("NodePort", "LoadBalancer")
    ingress = service.status.load_balancer.ingress if service.status.load_balancer else ()
    balancers = (one.ip for one in ingress if one.ip and one.ip_mode in ("", "VIP"))
    return ServicePort(
        namespace=service.metadata.namespace,
        service=service.metadata.name,
        name=port.name,
        protocol=port.protocol or "TCP",
        port=port.port or 0,
        cluster_ip=spec.cluster_ip,
        node_port=(port.node_port or 0) if external else 0,
        external_ips=tuple(ip for ip in spec.external_ips if ":" not in ip),
        balancer_ips=tuple(balancers) if spec.type == "LoadBalancer" else (),
        source_ranges=tuple(cidr.strip() for cidr in spec.load_balancer_source_ranges),
        affinity=_affinity(service),
        external_local=spec.external_traffic_policy == "Local",
        internal_local=spec.internal_traffic_policy == "Local",
        endpoints=tuple(sorted(set(_endpoints(slices, port, node)))),
    )


def _affinity(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return seconds or DEFAULT_AFFINITY_SECONDS


def _endpoints(slices: Iterable[EndpointSlice], port: PortSpec, node: str) -> Iterator[Endpoint]:
    for part in slices:
        number = next(
            (
                one.port
                for one in part.ports
                if one.name == port.name and (one.protocol or "TCP") == (port.protocol or "TCP")
            ),
            None,
        )
        if number:
            yield from (_endpoint(one, number, node) for one in part.endpoints if one.addresses)


def _endpoint(one: SliceEndpoint, port: int, node: str) -> Endpoint:
    known = one.conditions
    ready = known is None or known.ready is None or known.ready
    serving = ready if known is None or known.serving is None else known.serving
    return Endpoint(
        ip=one.addresses[0],
        port=port,
        local=one.node_name == node,
        ready=ready,
        serving=serving,
        terminating=bool(known and known.terminating),
    )
