"""IPAddress: an address that a service has; its name is the address."""

from typing import Any

from kybern.api.rules.tables import NAME, NONE, age, dig, name
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table


def _parent(raw: Raw) -> str:
    parent = dig(raw, "spec", "parentRef")
    if not parent:
        return NONE
    parts = [parent.get("resource", ""), parent.get("namespace", ""), parent.get("name", "")]
    if parent.get("group"):
        parts[0] += "." + parent["group"]
    return "/".join(part for part in parts if part).lower()


def _cells(raw: Raw, now: float) -> list[Any]:
    # upstream's rows have a third cell without a column, and clients get what they know
    return [name(raw), _parent(raw), age(raw, now)]


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="IPAddress",
    plural="ipaddresses",
    namespaced=False,
    schema="io.k8s.api.networking.v1.IPAddress",
    singular="ipaddress",
    short_names=("ip",),
    storage="ipaddresses",
    table=Table((NAME, Column("ParentRef")), _cells),
    rules=Rules(default=_default),
    storage_version_hash="3f/plJFChNE=",
)
