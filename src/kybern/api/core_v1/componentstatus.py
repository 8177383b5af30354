"""ComponentStatus: health of the parts of a control plane, asked of them when read; never kept."""

from typing import Any

from kybern.api.rules.tables import NAME, name
from kybern.machinery.kind import Column, Kind, Raw, Table


def _cells(raw: Raw, _now: float) -> list[Any]:
    for found in raw.get("conditions") or ():
        if found.get("type") == "Healthy":
            health = "Healthy" if found.get("status") == "True" else "Unhealthy"
            return [name(raw), health, found.get("message", ""), found.get("error", "")]
    return [name(raw), "Unknown", "", ""]


KIND = Kind(
    group="",
    version="v1",
    kind="ComponentStatus",
    plural="componentstatuses",
    namespaced=False,
    schema="io.k8s.api.core.v1.ComponentStatus",
    singular="componentstatus",
    short_names=("cs",),
    verbs=(
        "get",
        "list",
    ),
    table=Table((NAME, Column("Status"), Column("Message"), Column("Error")), _cells),
)
