"""DaemonSet: one pod on every node that qualifies."""

from typing import Any

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, age, containers, dig, name, pairs, selector, wide
from kybern.machinery.kind import Column, Kind, Raw, Table, wish_changed

_COLUMNS = (
    NAME,
    Column("Desired", "integer"),
    Column("Current", "integer"),
    Column("Ready", "integer"),
    Column("Up-to-date", "integer"),
    Column("Available", "integer"),
    Column("Node Selector"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
)
_COUNTS = (
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
)


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    return [
        name(raw),
        *(status_.get(key) or 0 for key in _COUNTS),
        pairs(dig(spec, "template", "spec", "nodeSelector")),
        age(raw, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


KIND = Kind(
    group="apps",
    version="v1",
    kind="DaemonSet",
    plural="daemonsets",
    namespaced=True,
    schema="io.k8s.api.apps.v1.DaemonSet",
    singular="daemonset",
    short_names=("ds",),
    categories=("all",),
    storage="daemonsets",
    subresources=(status("DaemonSet", "apps"),),
    table=Table(_COLUMNS, _cells),
    storage_version_hash="dd7pWHUlMKQ=",
    generation=wish_changed,
)
