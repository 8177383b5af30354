"""FlowSchema: which requests belong to which priority level."""

from typing import Any

from kybern.api.rules import flows
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, NONE, age, condition, dig, name, text
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

_COLUMNS = (
    NAME,
    Column("PriorityLevel"),
    Column("MatchingPrecedence"),
    Column("DistinguisherMethod"),
    AGE,
    Column("MissingPL"),
)


def _cells(raw: Raw, now: float) -> list[Any]:
    spec = raw.get("spec") or {}
    return [
        name(raw),
        text(dig(spec, "priorityLevelConfiguration", "name")),
        spec.get("matchingPrecedence", 0),
        text(dig(spec, "distinguisherMethod", "type")) or NONE,
        age(raw, now),
        (condition(raw, "Dangling") or {}).get("status", "?"),
    ]


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000
    raw.setdefault("status", {})


KIND = Kind(
    group="flowcontrol.apiserver.k8s.io",
    version="v1",
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    schema="io.k8s.api.flowcontrol.v1.FlowSchema",
    singular="flowschema",
    storage="flowschemas",
    subresources=(status("FlowSchema", "flowcontrol.apiserver.k8s.io"),),
    table=Table(_COLUMNS, _cells),
    rules=Rules(default=_default, validate=flows.schema),
    storage_version_hash="GJVAJZSZBIw=",
    generation=wish_changed,
)
