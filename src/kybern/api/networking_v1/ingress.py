"""Ingress: hosts and paths of HTTP, and the services behind them."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import ingresses
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import NONE, dig, first, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed


def _cells(raw: Raw) -> list[Any]:
    spec = raw.get("spec") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    given = dig(raw, "status", "loadBalancer", "ingress") or ()
    addresses = sorted({entry.get("ip") or entry.get("hostname", "") for entry in given} - {""})
    return [
        spec.get("ingressClassName") or NONE,
        first(hosts, 3) if hosts else "*",
        ",".join(addresses),
        "80, 443" if spec.get("tls") else "80",
    ]


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})
    raw.setdefault("status", {}).setdefault("loadBalancer", {})


_CLASS = "kubernetes.io/ingress.class"


def _warnings(new: Raw, old: Raw | None) -> Iterator[str]:
    if old is None and _CLASS in (dig(new, "metadata", "annotations") or {}):
        yield f"annotation \"{_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="Ingress",
    plural="ingresses",
    namespaced=True,
    schema="io.k8s.api.networking.v1.Ingress",
    singular="ingress",
    short_names=("ing",),
    storage="ingress",
    subresources=(status("Ingress", "networking.k8s.io"),),
    table=simple((Column("Class"), Column("Hosts"), Column("Address"), Column("Ports")), _cells),
    rules=Rules(default=_default, validate=ingresses.ingress, warnings=_warnings),
    storage_version_hash="39NQlfNR+bo=",
    generation=wish_changed,
)
