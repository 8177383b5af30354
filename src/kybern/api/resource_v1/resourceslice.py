"""ResourceSlice: some devices of a pool."""

from typing import Any

from kybern.api.rules import devicechecks
from kybern.api.rules.tables import dig, simple, text
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed

_SELECTABLE = {
    "spec.nodeName": lambda raw: text(dig(raw, "spec", "nodeName")),
    "spec.driver": lambda raw: text(dig(raw, "spec", "driver")),
}


def _cells(raw: Raw) -> list[Any]:
    spec = raw.get("spec") or {}
    return [spec.get("nodeName", ""), spec.get("driver", ""), text(dig(spec, "pool", "name"))]


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})


KIND = Kind(
    group="resource.k8s.io",
    version="v1",
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
    schema="io.k8s.api.resource.v1.ResourceSlice",
    singular="resourceslice",
    storage="resourceslices",
    selectable=_SELECTABLE,
    table=simple((Column("Node"), Column("Driver"), Column("Pool")), _cells),
    rules=Rules(default=_default, validate=devicechecks.device_slice),
    storage_version_hash="KsC072WgaEY=",
    generation=wish_changed,
)
