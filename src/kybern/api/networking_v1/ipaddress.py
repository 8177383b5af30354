"""IPAddress: an address that a service has; its name is the address."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from kybern.api.rules.causes import all_invalid, required, unchanged
from kybern.api.rules.formats import ip, path_segment
from kybern.api.rules.tables import NAME, NONE, age, dig, name
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table


def _parent(raw: Raw) -> str:
    parent = dig(raw, "spec", "parentRef")
    if parent is None:
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


def _named(name: str) -> Iterator[str]:
    """The name is an address in its one canonical form."""
    complaints = ip(name)
    yield from complaints
    if not complaints and str(ipaddress.ip_address(name)) != name:
        yield f"must be in canonical form ({ipaddress.ip_address(name)})"


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    parent = dig(new, "spec", "parentRef")
    if parent is None:
        yield required("spec.parentRef")
    else:
        for key in ("resource", "name"):
            if not parent.get(key):
                yield required(f"spec.parentRef.{key}")
            else:
                at = f"spec.parentRef.{key}"
                yield from all_invalid(at, parent[key], path_segment(parent[key]))
    if old is not None:
        yield from unchanged("spec.parentRef", parent, dig(old, "spec", "parentRef"))


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
    rules=Rules(default=_default, validate=_validate),
    valid_name=_named,
    storage_version_hash="3f/plJFChNE=",
)
