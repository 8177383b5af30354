"""Service: a stable address in front of pods."""

from typing import Any

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, NONE, UNKNOWN, age, dig, name, pairs, text, wide
from kybern.machinery.kind import Column, Kind, Raw, Subresource, Table

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
    storage_version_hash="0/CO1lhkEBI=",
)
