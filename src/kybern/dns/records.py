"""What the Kubernetes DNS specification 1.1.0 says of one Service: names and their records. Pure.

A name is lower case, without the dot at its end. A Service gives the records of its own name, of its named ports
(``_http._tcp.web...``), and of its headless endpoints (``HOSTNAME.web...``), and the reverse names of all their
addresses. An endpoint without a host name is called by its address (``10-1-2-3``), as CoreDNS does: the
specification leaves that name to whoever serves it.

An endpoint counts when it is ready. publishNotReadyAddresses needs nothing here: the controller that writes
EndpointSlices calls the endpoints of such a service ready.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from kybern.api.core_v1 import Service
from kybern.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 255
SERVICE_NAME = "kubernetes.io/service-name"
WEIGHTS = 100  # shared by the targets of one SRV name, as CoreDNS gives them


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """One record. ``value`` is an address, a name, a text, or for SRV "PRIORITY WEIGHT PORT TARGET"."""

    name: str
    type: int
    value: str


def address_record(name: str, address: str) -> Record:
    return Record(name, AAAA if ":" in address else A, address)


def reverse_name(address: IPv4Address | IPv6Address) -> str:
    return address.reverse_pointer


def dashed(address: str) -> str:
    """An address as one label: 10-1-2-3; an IPv6 address whose first or last group is empty gets a zero there."""
    label = address.replace(".", "-").replace(":", "-")
    return f"{'0' if label[0] == '-' else ''}{label}{'0' if label[-1] == '-' else ''}"


def records(service: Service, slices: Iterable[EndpointSlice], domain: str) -> frozenset[Record]:
    """All records of a service in the cluster domain ``domain``, and the reverse ones."""
    spec, metadata = service.spec, service.metadata
    name = f"{metadata.name}.{metadata.namespace}.svc.{domain}".lower()
    if spec.type == "ExternalName":
        return frozenset(_external(name, spec.external_name))
    if spec.cluster_ip == "None":
        return frozenset(_headless(name, slices))
    addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    ports = ((port.name, port.protocol or "TCP", port.port or 0) for port in spec.ports)
    return frozenset(_clustered(name, addresses, ports)) if addresses else frozenset()


def _external(name: str, target: str) -> Iterator[Record]:
    """An address is no name to point at: upstream serves nothing for it, and neither do we.

    The API takes labels that are longer than DNS can have.
    """
    target = target.rstrip(".").lower()
    if target and not _is_address(target) and all(0 < len(label) <= 63 for label in target.split(".")):
        yield Record(name, CNAME, target)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _clustered(
    name: str, addresses: Iterable[str], ports: Iterable[tuple[str, str, int]]
) -> Iterator[Record]:
    for address in addresses:
        yield address_record(name, address)
        yield Record(reverse_name(ip_address(address)), PTR, name)
    for port, protocol, number in ports:
        yield from _services(name, port, protocol, f"0 {WEIGHTS} {number} {name}")


def _services(name: str, port: str, protocol: str, value: str) -> Iterator[Record]:
    """A named port's own name. All ports, named or not, are found by the service's name too, as CoreDNS has it."""
    yield Record(name, SRV, value)
    if port:
        yield Record(f"_{port}._{protocol}.{name}".lower(), SRV, value)


def _headless(name: str, slices: Iterable[EndpointSlice]) -> Iterator[Record]:
    ready = [(part, one) for part in slices for one in part.endpoints if _is_ready(one)]
    weight = max(WEIGHTS // (len(ready) or 1), 1)
    for part, endpoint in ready:
        for address in endpoint.addresses:
            if part.address_type != "FQDN":
                yield from _endpoint(name, endpoint.hostname, address, part.ports, weight)


def _endpoint(
    name: str, hostname: str, address: str, ports: Iterable[EndpointPort], weight: int
) -> Iterator[Record]:
    own = f"{hostname or dashed(address)}.{name}".lower()
    yield address_record(name, address)
    yield address_record(own, address)
    yield Record(reverse_name(ip_address(address)), PTR, own)
    for port in ports:
        if port.port:
            yield from _services(name, port.name, port.protocol or "TCP", f"0 {weight} {port.port} {own}")


def _is_ready(endpoint: Endpoint) -> bool:
    known = endpoint.conditions
    return known is None or known.ready is None or known.ready


def owner_of(part: EndpointSlice) -> str:
    return part.metadata.labels.get(SERVICE_NAME, "")
