"""Where what Services hold and what has been given to them differ. Pure.

By upstream's repair loops (pkg/registry/core/service/ipallocator/controller/repairip.go and
portallocator/controller/repair.go), in whose words Services are told of it. What two Services hold, and what is of no
range, nobody can put right but who wrote them.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kybern.apiserver.services.addresses import MANAGER, Network
from kybern.machinery.kind import Raw

HEADLESS = "None"


@dataclass(frozen=True, slots=True)
class Told:
    """An event about a Service; ``component`` says it."""

    component: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Address:
    """Whether the object of a cluster IP is to be made, or made anew, for the Service that holds it."""

    told: Told | None
    repaired: bool


@dataclass(frozen=True, slots=True)
class Port:
    """A node port, and whether it is to be taken."""

    service: Raw
    port: int
    told: Told
    repaired: bool


def addresses_of(raw: Raw | None) -> list[str]:
    """Cluster IPs of a Service."""
    spec = (raw or {}).get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    return [ip for ip in spec.get("clusterIPs") or () if ip and ip != HEADLESS]


def ports_of(raw: Raw | None) -> list[int]:
    """Node ports of a Service, the one for health with them."""
    spec = (raw or {}).get("spec") or {}
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        found.append(spec["healthCheckNodePort"])
    return list(dict.fromkeys(found))


type Held = Mapping[tuple[str, str], Collection[str]]
"""Cluster IPs by the namespace and name of the Service that holds them."""


def held_by(services: Iterable[Raw]) -> Held:
    return {_key(service): frozenset(addresses_of(service)) for service in services}


def of_address(
    service: Raw, address: str, given: Raw | None, held: Held, ranges: Sequence[Network]
) -> Address | None:
    """What is wrong with an address that a Service holds.

    ``given`` is the IPAddress of its name, ``ranges`` are those that addresses may be of.
    """
    parsed = ipaddress.ip_address(address)
    shown = f"[IPv{parsed.version}]: {parsed}"
    if not any(parsed in network for network in ranges):
        text = f"Cluster IP {shown} is not within any configured Service CIDR; please recreate service"
        return Address(_by_addresses("ClusterIPOutOfRange", text), repaired=False)
    if given is None:
        text = f"Cluster IP {shown} is not allocated; repairing"
        return Address(_by_addresses("ClusterIPNotAllocated", text), repaired=True)
    parent = (given.get("spec") or {}).get("parentRef") or {}
    other = parent.get("namespace", ""), parent.get("name", "")
    of_services = not parent.get("group") and parent.get("resource") == "services"
    if of_services and other != _key(service) and address in held.get(other, ()):
        text = f"Cluster IP [IPv{parsed.version}]:{parsed} was assigned to multiple services; please recreate service"
        return Address(_by_addresses("ClusterIPAlreadyAllocated", text), repaired=False)
    if not of_services or other != _key(service):
        namespace, name = _key(service)
        text = f"the ClusterIP {shown} for Service {namespace}/{name} has a wrong reference; repairing"
        return Address(_by_addresses("ClusterIPNotAllocated", text), repaired=True)
    labels = given["metadata"].get("labels") or {}
    wanted = {
        "ipaddress.kubernetes.io/ip-family": f"IPv{parsed.version}",
        "ipaddress.kubernetes.io/managed-by": MANAGER,
    }
    if wanted.items() <= labels.items():
        return None
    return Address(None, repaired=True)


def of_ports(services: Iterable[Raw], taken: Collection[int], first: int, last: int) -> Iterator[Port]:
    """``taken`` are those that have an owner, of the range from ``first`` to ``last``."""
    seen: set[int] = set()
    for service in services:
        for port in ports_of(service):
            if not first <= port <= last:
                text = f"Port {port} is not within the port range {first}-{last}; please recreate service"
                yield Port(service, port, _by_ports("PortOutOfRange", text), repaired=False)
            elif port in seen:
                text = f"Port {port} was assigned to multiple services; please recreate service"
                yield Port(service, port, _by_ports("PortAlreadyAllocated", text), repaired=False)
            elif port not in taken:
                text = f"Port {port} is not allocated; repairing"
                yield Port(service, port, _by_ports("PortNotAllocated", text), repaired=True)
            seen.add(port)


def _by_addresses(reason: str, message: str) -> Told:
    return Told("ipallocator-repair-controller", reason, message)


def _by_ports(reason: str, message: str) -> Told:
    return Told("portallocator-repair-controller", reason, message)


def _key(service: Raw) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]
