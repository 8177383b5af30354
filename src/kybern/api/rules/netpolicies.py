"""Network policies: ports and peers."""

import ipaddress
from collections.abc import Iterator

from kybern.api.rules import ports
from kybern.api.rules.causes import (
    all_invalid,
    forbidden,
    invalid,
    not_supported,
    required,
)
from kybern.api.rules.formats import cidr
from kybern.api.rules.labels import selector
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw


def validate(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from selector("spec.podSelector", spec.get("podSelector"))
    for side, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(side) or ()):
            at = f"spec.{side}[{i}]"
            for j, port in enumerate(rule.get("ports") or ()):
                yield from _port(f"{at}.ports[{j}]", port)
            for j, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(f"{at}.{peers}[{j}]", peer)
    yield from _types("spec.policyTypes", spec.get("policyTypes") or [])


def _types(field: str, found: list[str]) -> Iterator[Cause]:
    if len(found) > 2:
        yield invalid(field, found, "may not specify more than two policyTypes")
        return
    for i, kind in enumerate(found):
        if kind not in ("Ingress", "Egress"):
            yield not_supported(f"{field}[{i}]", kind, ("Ingress", "Egress"))


def _port(field: str, raw: Raw) -> Iterator[Cause]:
    protocol, port, end = raw.get("protocol"), raw.get("port"), raw.get("endPort")
    if protocol is not None and protocol not in ports.PROTOCOLS:
        yield not_supported(f"{field}.protocol", protocol, ports.PROTOCOLS)
    if port is not None:
        yield from ports.number_or_name(f"{field}.port", port)
        if isinstance(port, str) and end is not None:
            yield invalid(f"{field}.endPort", end, "may not be specified when `port` is non-numeric")
        elif end is not None:
            if end < port:
                # upstream shows the port here, not the end
                yield invalid(f"{field}.endPort", port, "must be greater than or equal to `port`")
            yield from ports.number(f"{field}.endPort", end)
    elif end is not None:
        yield invalid(f"{field}.endPort", end, "may not be specified when `port` is not specified")


def _peer(field: str, raw: Raw) -> Iterator[Cause]:
    block, others = raw.get("ipBlock"), 0
    for key in ("podSelector", "namespaceSelector"):
        if raw.get(key) is not None:
            others += 1
            yield from selector(f"{field}.{key}", raw[key])
    if block is not None:
        yield from _block(f"{field}.ipBlock", block)
    if not others and block is None:
        yield required(field, "must specify a peer")
    elif others and block is not None:
        yield forbidden(field, "may not specify both ipBlock and another peer")


def _block(field: str, raw: Raw) -> Iterator[Cause]:
    text = raw.get("cidr", "")
    if not text:
        yield required(f"{field}.cidr")
        return
    complaints = cidr(text)
    yield from all_invalid(f"{field}.cidr", text, complaints)
    for i, inner in enumerate(raw.get("except") or ()):
        at = f"{field}.except[{i}]"
        wrong = cidr(inner)
        yield from all_invalid(at, inner, wrong)
        if not wrong and not complaints and not _inside(inner, text):
            yield invalid(at, inner, "must be a strict subset of `cidr`")


def _inside(inner: str, outer: str) -> bool:
    small = ipaddress.ip_network(inner, strict=False)
    large = ipaddress.ip_network(outer, strict=False)
    if isinstance(small, ipaddress.IPv4Network) and isinstance(large, ipaddress.IPv4Network):
        return small.subnet_of(large) and small != large
    if isinstance(small, ipaddress.IPv6Network) and isinstance(large, ipaddress.IPv6Network):
        return small.subnet_of(large) and small != large
    return False
