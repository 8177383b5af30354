"""PriorityLevelConfiguration: how many requests of a level run at once, and how the others wait."""

from typing import Any

from kybern.api.rules import flows
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import NONE, dig, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed

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


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    exempt, limited = spec.get("exempt"), spec.get("limited")
    if exempt is None and spec.get("type") == "Exempt":
        exempt = spec["exempt"] = {}
    if exempt is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)
    if limited is not None:
        if limited.get("nominalConcurrencyShares") is None:
            limited["nominalConcurrencyShares"] = 30
        limited.setdefault("lendablePercent", 0)
        _default_queuing(limited.setdefault("limitResponse", {}).get("queuing"))
    raw.setdefault("status", {})


def _default_queuing(queuing: Raw | None) -> None:
    if queuing is not None:
        for key, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
            if not queuing.get(key):
                queuing[key] = value


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
    rules=Rules(default=_default, validate=flows.level),
    storage_version_hash="Kir5PVfvNeI=",
    generation=wish_changed,
)
