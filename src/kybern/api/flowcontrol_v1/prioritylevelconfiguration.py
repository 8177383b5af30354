"""PriorityLevelConfiguration: how many requests of a level run at once, and how the others wait."""

from typing import Any

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import NONE, dig, simple
from kybern.machinery.kind import Column, Kind, Raw, wish_changed

_COLUMNS = (
    Column("Type"),
    Column("NominalConcurrencyShares"),
    Column("Queues"),
    Column("HandSize"),
    Column("QueueLengthLimit"),
)


def _shown(value: Any) -> Any:
    return NONE if value is None else value


def _cells(raw: Raw) -> list[Any]:
    spec = raw.get("spec") or {}
    limited = spec.get("limited") or spec.get("exempt")
    queuing = dig(spec, "limited", "limitResponse", "queuing")
    return [
        spec.get("type", ""),
        _shown(dig(limited, "nominalConcurrencyShares")),
        _shown(dig(queuing, "queues")),
        _shown(dig(queuing, "handSize")),
        _shown(dig(queuing, "queueLengthLimit")),
    ]


KIND = Kind(
    group="flowcontrol.apiserver.k8s.io",
    version="v1",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    schema="io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    singular="prioritylevelconfiguration",
    storage="prioritylevelconfigurations",
    subresources=(status("PriorityLevelConfiguration", "flowcontrol.apiserver.k8s.io"),),
    table=simple(_COLUMNS, _cells),
    storage_version_hash="Kir5PVfvNeI=",
    generation=wish_changed,
)
