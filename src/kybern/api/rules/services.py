"""Services: ports, addresses and traffic policies. Which address and node port one gets is decided elsewhere."""

from collections.abc import Iterator

from kybern.api.rules import ports, servicefamilies
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    forbidden,
    in_range,
    invalid,
    not_supported,
    one_of,
    required,
)
from kybern.api.rules.formats import cidr, ip, label, qualified_name, subdomain
from kybern.api.rules.labels import labels
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_POLICIES = ("Cluster", "Local")
_NO_ADDRESS = ("ipFamilies", "ipFamilyPolicy")


def _headless(spec: Raw) -> bool:
    return spec.get("clusterIP") == "None" or (spec.get("clusterIPs") or [""])[0] == "None"


def validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from _of_type(spec)
    yield from _ports("spec.ports", spec)
    yield from labels("spec.selector", spec.get("selector"))
    yield from _affinity(spec)
    wrong = list(_families(spec))
    yield from wrong
    for i, address in enumerate(spec.get("externalIPs") or ()):
        at = f"spec.externalIPs[{i}]"
        complaints = ip(address)
        yield from all_invalid(at, address, complaints)
    if not spec.get("type"):
        yield required("spec.type")
    elif spec["type"] not in _TYPES:
        yield not_supported("spec.type", spec["type"], _TYPES)
    yield from _node_ports(spec)
    yield from _same_port(spec)
    yield from _balancer(spec)
    yield from _traffic(spec)
    if old is not None:
        yield from _update(spec, old.get("spec") or {})
        if not wrong:
            yield from servicefamilies.changed(spec, old.get("spec") or {})


def _of_type(spec: Raw) -> Iterator[Cause]:
    kind = spec.get("type")
    if not spec.get("ports") and not _headless(spec) and kind != "ExternalName":
        yield required("spec.ports")
    if kind in ("NodePort", "LoadBalancer") and _headless(spec):
        text = f"may not be set to 'None' for {kind} services"
        yield invalid("spec.clusterIPs[0]", (spec.get("clusterIPs") or ["None"])[0], text)
    if kind == "ExternalName":
        if spec.get("clusterIPs"):
            yield forbidden("spec.clusterIPs", "may not be set for ExternalName services")
        name = (spec.get("externalName") or "").removesuffix(".")
        if not name:
            yield required("spec.externalName")
        else:
            yield from all_invalid("spec.externalName", spec["externalName"], subdomain(name))


def _ports(field: str, spec: Raw) -> Iterator[Cause]:
    found = spec.get("ports") or []
    names: set[str] = set()
    for i, port in enumerate(found):
        at, name = f"{field}[{i}]", port.get("name", "")
        if not name:
            if len(found) > 1:
                yield required(f"{at}.name")
        else:
            yield from all_invalid(f"{at}.name", name, label(name))
            if name in names:
                yield duplicate(f"{at}.name", name)
            names.add(name)
        yield from _port(at, port)


def _port(field: str, port: Raw) -> Iterator[Cause]:
    yield from ports.number(f"{field}.port", port.get("port") or 0)
    if not port.get("protocol"):
        yield required(f"{field}.protocol")
    elif port["protocol"] not in ports.PROTOCOLS:
        yield not_supported(f"{field}.protocol", port["protocol"], sorted(ports.PROTOCOLS))
    yield from ports.number_or_name(f"{field}.targetPort", port.get("targetPort"))
    if port.get("appProtocol") is not None:
        yield from all_invalid(
            f"{field}.appProtocol", port["appProtocol"], qualified_name(port["appProtocol"])
        )


def _affinity(spec: Raw) -> Iterator[Cause]:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    if not affinity:
        yield required("spec.sessionAffinity")
    elif affinity not in ("ClientIP", "None"):
        yield not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    if affinity == "ClientIP":
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        if seconds is None:
            yield required(at)
        else:
            yield from in_range(at, seconds, 1, 86400)
    elif affinity == "None" and config is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")


def _families(spec: Raw) -> Iterator[Cause]:
    if spec.get("type") == "ExternalName":
        for key in _NO_ADDRESS:
            if spec.get(key):
                yield forbidden(f"spec.{key}", "may not be set for ExternalName services")
        return
    found = spec.get("ipFamilies") or []
    for i, family in enumerate(found):
        yield from one_of(f"spec.ipFamilies[{i}]", family, _FAMILIES)
        if family in found[:i]:
            yield duplicate(f"spec.ipFamilies[{i}]", family)
    if spec.get("ipFamilyPolicy") is not None:
        yield from one_of("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], _FAMILY_POLICIES)
    wrong = list(_addresses(spec.get("clusterIPs") or []))
    yield from wrong or servicefamilies.matching(spec)


def _addresses(found: list[str]) -> Iterator[Cause]:
    for i, address in enumerate(found):
        if address != "None":
            yield from all_invalid(f"spec.clusterIPs[{i}]", address, ip(address))


def _node_ports(spec: Raw) -> Iterator[Cause]:
    taken: set[tuple[str, int]] = set()
    for i, port in enumerate(spec.get("ports") or ()):
        number, at = port.get("nodePort"), f"spec.ports[{i}].nodePort"
        if not number:
            continue
        if spec.get("type") == "ClusterIP":
            yield forbidden(at, "may not be used when `type` is 'ClusterIP'")
        key = (port.get("protocol", ""), number)
        if key in taken:
            yield duplicate(at, number)
        taken.add(key)


def _same_port(spec: Raw) -> Iterator[Cause]:
    taken: set[tuple[str, int]] = set()
    for i, port in enumerate(spec.get("ports") or ()):
        key = (port.get("protocol", ""), port.get("port", 0))
        if key in taken:
            shown = {
                "Name": "",
                "Protocol": key[0],
                "AppProtocol": None,
                "Port": key[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            yield duplicate(f"spec.ports[{i}]", shown)
        taken.add(key)


def _balancer(spec: Raw) -> Iterator[Cause]:
    ranges, balanced = spec.get("loadBalancerSourceRanges") or (), spec.get("type") == "LoadBalancer"
    if ranges and not balanced:
        yield forbidden("spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
    for i, text in enumerate(ranges):
        yield from all_invalid(f"spec.loadBalancerSourceRanges[{i}]", text, cidr(text.strip()))
    for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if spec.get(key) is not None and not balanced:
            yield forbidden(f"spec.{key}", "may only be used when `type` is 'LoadBalancer'")
    if spec.get("loadBalancerClass") is not None and balanced:
        name = spec["loadBalancerClass"]
        yield from all_invalid("spec.loadBalancerClass", name, qualified_name(name))


def _traffic(spec: Raw) -> Iterator[Cause]:
    outside = spec.get("externalTrafficPolicy")
    reached = spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))
    if outside and not reached:
        text = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", outside, text)
    elif outside or reached:
        yield from one_of("spec.externalTrafficPolicy", outside, _POLICIES)
    inside = spec.get("internalTrafficPolicy")
    if inside is not None:
        yield from one_of("spec.internalTrafficPolicy", inside, _POLICIES)
    if spec.get("trafficDistribution") is not None:
        yield from one_of("spec.trafficDistribution", spec["trafficDistribution"], _DISTRIBUTIONS)


def _update(spec: Raw, old: Raw) -> Iterator[Cause]:
    """Whose balancer it is stays for as long as it has one."""
    changed = spec.get("loadBalancerClass") != old.get("loadBalancerClass")
    if changed and (spec.get("type"), old.get("type")) == ("LoadBalancer", "LoadBalancer"):
        yield invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set")


def validate_status(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    given = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    if given and (new.get("spec") or {}).get("type") != "LoadBalancer":
        text = "may only be used when `spec.type` is 'LoadBalancer'"
        yield forbidden("status.loadBalancer.ingress", text)
    for i, entry in enumerate(given):
        at = f"status.loadBalancer.ingress[{i}]"
        if entry.get("ip"):
            yield from all_invalid(f"{at}.ip", entry["ip"], ip(entry["ip"]))
        if entry.get("hostname"):
            yield from all_invalid(f"{at}.hostname", entry["hostname"], subdomain(entry["hostname"]))
