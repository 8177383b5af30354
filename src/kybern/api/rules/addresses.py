"""Addresses behind services: endpoints and endpoint slices."""

import ipaddress
from collections.abc import Iterator

from kybern.api.rules import ports
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    invalid,
    not_supported,
    required,
    too_many,
    unchanged,
)
from kybern.api.rules.formats import ip, label, qualified_name, subdomain
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_KINDS = ("FQDN", "IPv4", "IPv6")
_MOST = 1000
_MOST_ADDRESSES = 100
_MOST_PORTS = 20000
_LINK_LOCAL_GROUPS = tuple(map(ipaddress.ip_network, ("224.0.0.0/24", "ff02::/16")))


def special(text: str) -> Iterator[str]:
    """Why an address is no endpoint's (upstream's ValidateEndpointIP)."""
    found = ipaddress.ip_address(text)
    if found.is_unspecified:
        yield f"may not be unspecified ({text})"
    if found.is_loopback:
        yield "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    if found.is_link_local:
        yield "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    if any(found in network for network in _LINK_LOCAL_GROUPS if network.version == found.version):
        yield "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"


def endpoints(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    for i, subset in enumerate(new.get("subsets") or ()):
        at = f"subsets[{i}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(at, "must specify `addresses` or `notReadyAddresses`")
        for kind in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(kind) or ()):
                yield from _endpoint(f"{at}.{kind}[{j}]", address)
        found = subset.get("ports") or []
        for j, port in enumerate(found):
            yield from _endpoint_port(f"{at}.ports[{j}]", port, named=len(found) > 1)


def _endpoint(field: str, address: Raw) -> Iterator[Cause]:
    text = address.get("ip", "")
    complaints = ip(text)
    yield from all_invalid(f"{field}.ip", text, complaints)
    if address.get("hostname"):
        yield from all_invalid(f"{field}.hostname", address["hostname"], label(address["hostname"]))
    if address.get("nodeName") is not None:
        yield from all_invalid(f"{field}.nodeName", address["nodeName"], subdomain(address["nodeName"]))
    if complaints:
        yield invalid(f"{field}.ip", text, "must be a valid IP address")
    else:
        yield from all_invalid(f"{field}.ip", text, special(text))


def _endpoint_port(field: str, port: Raw, *, named: bool) -> Iterator[Cause]:
    name = port.get("name", "")
    if named and not name:
        yield required(f"{field}.name")
    elif name:
        yield from all_invalid(f"{field}.name", name, label(name))
    yield from ports.number(f"{field}.port", port.get("port") or 0)
    if not port.get("protocol"):
        yield required(f"{field}.protocol")
    elif port["protocol"] not in ports.PROTOCOLS:
        yield not_supported(f"{field}.protocol", port["protocol"], sorted(ports.PROTOCOLS))
    if port.get("appProtocol") is not None:
        yield from all_invalid(
            f"{field}.appProtocol", port["appProtocol"], qualified_name(port["appProtocol"])
        )


def endpoint_slice(new: Raw, old: Raw | None) -> Iterator[Cause]:
    kind = new.get("addressType", "")
    if not kind:
        yield required("addressType")
    elif kind not in _KINDS:
        yield not_supported("addressType", kind, _KINDS)
    found = new.get("endpoints") or []
    if len(found) > _MOST:
        yield too_many("endpoints", len(found), _MOST)
    for i, endpoint in enumerate(found[:_MOST]):
        yield from _slice_endpoint(f"endpoints[{i}]", endpoint, kind)
    yield from _slice_ports("ports", new.get("ports") or [])
    if old is not None:
        yield from unchanged("addressType", kind, old.get("addressType", ""))


def _slice_endpoint(field: str, endpoint: Raw, kind: str) -> Iterator[Cause]:
    addresses = endpoint.get("addresses") or []
    if not addresses:
        yield required(f"{field}.addresses", "must contain at least 1 address")
    elif len(addresses) > _MOST_ADDRESSES:
        yield too_many(f"{field}.addresses", len(addresses), _MOST_ADDRESSES)
    for i, address in enumerate(addresses[:_MOST_ADDRESSES]):
        yield from _slice_address(f"{field}.addresses", i, address, kind)
    if endpoint.get("nodeName") is not None:
        yield from all_invalid(f"{field}.nodeName", endpoint["nodeName"], subdomain(endpoint["nodeName"]))
    hostname = endpoint.get("hostname")
    if hostname is not None:
        yield from all_invalid(f"{field}.hostname", hostname, label(hostname))


def _slice_address(field: str, i: int, text: str, kind: str) -> Iterator[Cause]:
    at = f"{field}[{i}]"
    if kind == "FQDN":
        yield from all_invalid(at, text, subdomain(text))
        return
    if kind not in ("IPv4", "IPv6"):
        return
    complaints = ip(text)
    yield from all_invalid(at, text, complaints)
    if complaints:
        return
    if f"IPv{ipaddress.ip_address(text).version}" != kind:
        article = "an IPv4" if kind == "IPv4" else "an IPv6"
        yield invalid(field, text, f"must be {article} address")
    yield from all_invalid(at, text, special(text))


def _slice_ports(field: str, found: list[Raw]) -> Iterator[Cause]:
    if len(found) > _MOST_PORTS:
        yield too_many(field, len(found), _MOST_PORTS)
        return
    names: set[str] = set()
    for i, port in enumerate(found):
        at, name = f"{field}[{i}]", port.get("name") or ""
        if name:
            yield from all_invalid(f"{at}.name", name, label(name))
        if name in names:
            yield duplicate(f"{at}.name", name)
        names.add(name)
        if not port.get("protocol"):
            yield required(f"{at}.protocol")
        elif port["protocol"] not in ports.PROTOCOLS:
            yield not_supported(f"{at}.protocol", port["protocol"], sorted(ports.PROTOCOLS))
        if port.get("appProtocol") is not None:
            yield from all_invalid(
                f"{at}.appProtocol", port["appProtocol"], qualified_name(port["appProtocol"])
            )
