"""Services: ports, addresses and traffic policies. Which address and node port one gets is decided elsewhere."""

from collections.abc import Iterator

from kybern.api.rules import ports, servicefamilies, servicetraffic
from kybern.api.rules.addresses import special
from kybern.api.rules.causes import all_invalid, duplicate, forbidden, invalid, not_supported, required
from kybern.api.rules.formats import ip, label, qualified_name, subdomain
from kybern.api.rules.labels import labels
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_IP_MODES = ("Proxy", "VIP")
_NO_ADDRESS = ("ipFamilies", "ipFamilyPolicy")


def validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from _modes((new.get("metadata") or {}).get("annotations") or {})
    yield from _of_type(spec)
    yield from _ports("spec.ports", spec)
    yield from labels("spec.selector", spec.get("selector"))
    yield from servicetraffic.affinity(spec)
    wrong = list(servicefamilies.related(spec))
    yield from wrong
    for i, address in enumerate(spec.get("externalIPs") or ()):
        yield from all_invalid(f"spec.externalIPs[{i}]", address, ip(address) or tuple(special(address)))
    if not spec.get("type"):
        yield required("spec.type")
    elif spec["type"] not in _TYPES:
        yield not_supported("spec.type", spec["type"], _TYPES)
    yield from _node_ports(spec)
    yield from _same_port(spec)
    yield from servicetraffic.balancer({**new, "spec": spec}, old)
    yield from servicetraffic.policies(spec)
    if old is not None:
        yield from servicetraffic.changed(spec, old.get("spec") or {})
        if not wrong:
            yield from servicefamilies.changed(spec, old.get("spec") or {})


def _modes(annotations: Raw) -> Iterator[Cause]:
    mode = annotations.get(servicetraffic.MODE)
    if mode is not None and annotations.get(servicetraffic.OLD_MODE) not in (None, mode):
        text = f"must match annotations[{servicetraffic.OLD_MODE}] when both are specified"
        yield invalid(f"metadata.annotations[{servicetraffic.MODE}]", mode, text)


def _of_type(spec: Raw) -> Iterator[Cause]:
    kind = spec.get("type")
    if not spec.get("ports") and not servicefamilies.is_headless(spec) and kind != "ExternalName":
        yield required("spec.ports")
    if kind in ("NodePort", "LoadBalancer") and servicefamilies.is_headless(spec):
        text = f"may not be set to 'None' for {kind} services"
        yield invalid("spec.clusterIPs[0]", (spec.get("clusterIPs") or ["None"])[0], text)
    if kind == "ExternalName":
        if spec.get("clusterIPs"):
            yield forbidden("spec.clusterIPs", "may not be set for ExternalName services")
        for key in _NO_ADDRESS:
            if spec.get(key):
                yield forbidden(f"spec.{key}", "may not be set for ExternalName services")
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


def validate_status(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    given = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    if given and (new.get("spec") or {}).get("type") != "LoadBalancer":
        text = "may only be used when `spec.type` is 'LoadBalancer'"
        yield forbidden("status.loadBalancer.ingress", text)
        return
    for i, entry in enumerate(given):
        yield from _ingress(f"status.loadBalancer.ingress[{i}]", entry)


def _ingress(at: str, entry: Raw) -> Iterator[Cause]:
    address, mode, name = entry.get("ip"), entry.get("ipMode"), entry.get("hostname")
    if address:
        yield from all_invalid(f"{at}.ip", address, ip(address))
    if mode is None and address:
        yield required(f"{at}.ipMode", "must be specified when `ip` is set")
    elif mode is not None and not address:
        yield forbidden(f"{at}.ipMode", "may not be specified when `ip` is not set")
    elif mode is not None and mode not in _IP_MODES:
        yield not_supported(f"{at}.ipMode", mode, _IP_MODES)
    if name:
        yield from all_invalid(f"{at}.hostname", name, subdomain(name))
        if not ip(name):
            yield invalid(f"{at}.hostname", name, "must be a DNS name, not an IP address")
