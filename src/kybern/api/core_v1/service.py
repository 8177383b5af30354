"""Service: a stable address in front of pods."""

from typing import Any

from kybern.api.rules import servicechanges, services, servicewarnings
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, NONE, UNKNOWN, age, dig, name, pairs, text, wide
from kybern.machinery import names
from kybern.machinery.kind import Column, Kind, Raw, Rules, Subresource, Table

_SELECTABLE = {
    "spec.clusterIP": lambda raw: text(dig(raw, "spec", "clusterIP")),
    "spec.type": lambda raw: text(dig(raw, "spec", "type")),
}


_COLUMNS = (
    NAME,
    Column("Type"),
    Column("Cluster-IP"),
    Column("External-IP"),
    Column("Port(s)"),
    AGE,
    wide("Selector"),
)


def _external(raw: Raw) -> str:
    spec = raw.get("spec") or {}
    own = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(own) or NONE
        case "LoadBalancer":
            given = dig(raw, "status", "loadBalancer", "ingress") or ()
            found = sorted({entry.get("ip") or entry.get("hostname", "") for entry in given} - {""})
            return ",".join([*found, *own]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return UNKNOWN


def _port(port: Raw) -> str:
    number = f"{port.get('port')}:{port['nodePort']}" if port.get("nodePort") else port.get("port")
    return f"{number}/{port.get('protocol', '')}"


def _cells(raw: Raw, now: float) -> list[Any]:
    spec = raw.get("spec") or {}
    addresses = spec.get("clusterIPs") or [NONE]
    return [
        name(raw),
        spec.get("type", ""),
        addresses[0],
        _external(raw),
        ",".join(_port(port) for port in spec.get("ports") or ()) or NONE,
        age(raw, now),
        pairs(spec.get("selector")),
    ]


_REACHED_FROM_OUTSIDE = ("NodePort", "LoadBalancer")


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    _default_affinity(spec)
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if port.get("targetPort") in (None, 0, "") and port.get("port"):
            port["targetPort"] = port["port"]
    _default_traffic(spec)
    balancer = raw.setdefault("status", {}).setdefault("loadBalancer", {})
    for entry in balancer.get("ingress") or () if spec["type"] == "LoadBalancer" else ():
        if entry.get("ip"):
            entry.setdefault("ipMode", "VIP")


def _default_affinity(spec: Raw) -> None:
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", 10800)


def _default_traffic(spec: Raw) -> None:
    outside = spec["type"] in _REACHED_FROM_OUTSIDE or (
        spec["type"] == "ClusterIP" and spec.get("externalIPs")
    )
    if outside and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec["type"] in ("ClusterIP", *_REACHED_FROM_OUTSIDE):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


KIND = Kind(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    namespaced=True,
    schema="io.k8s.api.core.v1.Service",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    storage="services/specs",
    subresources=(
        Subresource(
            "proxy",
            "ServiceProxyOptions",
            verbs=(
                "create",
                "delete",
                "get",
                "patch",
                "update",
            ),
        ),
        status("Service"),
    ),
    selectable=_SELECTABLE,
    table=Table(_COLUMNS, _cells),
    rules=Rules(
        default=_default,
        on_create=servicechanges.on_create,
        on_update=servicechanges.on_update,
        validate=services.validate,
        validate_status=services.validate_status,
        warnings=servicewarnings.warnings,
    ),
    allow_create_on_update=True,
    valid_name=names.dns1123_label,
    storage_version_hash="0/CO1lhkEBI=",
)
