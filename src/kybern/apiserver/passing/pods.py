"""What pods and the endpoints of Services say of where they are. Pure."""

import ipaddress
from collections.abc import Iterator

from kybern.apiserver.services.reach import Address
from kybern.machinery.kind import Raw

type Ready = tuple[Address, Raw]


def of_slice(found: Raw, port: str) -> Iterator[Ready]:
    """Pure."""
    numbers = [
        one["port"] for one in found.get("ports") or () if (one.get("name") or "") == port and one.get("port")
    ]
    for endpoint in found.get("endpoints") or ():
        if numbers and (endpoint.get("conditions") or {}).get("ready", True) is not False:
            yield (str(endpoint["addresses"][0]), int(numbers[0])), endpoint.get("targetRef") or {}


def of_endpoints(found: Raw, port: str) -> Iterator[Ready]:
    """Pure."""
    for subset in found.get("subsets") or ():
        for one in subset.get("ports") or ():
            if (one.get("name") or "") == port:
                for address in subset.get("addresses") or ():
                    yield (str(address["ip"]), int(one["port"])), address.get("targetRef") or {}


def first_port(pod: Raw) -> int:
    """The first port that a container names; 0 when none does. Pure."""
    ports = (port for one in pod["spec"].get("containers") or () for port in (one.get("ports") or ())[:1])
    return next((int(port["containerPort"]) for port in ports), 0)


def addresses(pod: Raw) -> list[str]:
    status = pod.get("status") or {}
    found = [str(one.get("ip")) for one in status.get("podIPs") or () if one.get("ip")]
    return found or [str(status["podIP"])] if status.get("podIP") else found


def proxyable(address: str) -> bool:
    """Whether an address is one machine's in a network: not loopback, link-local, a group, or none. Pure."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    apart = found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified
    return not apart and str(found) != "255.255.255.255"
