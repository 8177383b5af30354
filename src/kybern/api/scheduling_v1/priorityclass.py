"""PriorityClass: a name for how important pods are."""

from typing import Any

from kybern.api.rules.tables import AGE, NAME, age, name
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

_COLUMNS = (
    NAME,
    Column("Value", "integer"),
    Column("Global-Default", "boolean"),
    AGE,
    Column("PreemptionPolicy"),
)


def _cells(raw: Raw, now: float) -> list[Any]:
    return [
        name(raw),
        raw.get("value", 0),
        bool(raw.get("globalDefault")),
        age(raw, now),
        raw.get("preemptionPolicy", ""),
    ]


def _default(raw: Raw) -> None:
    if not raw.get("preemptionPolicy"):
        raw["preemptionPolicy"] = "PreemptLowerPriority"
    raw.setdefault("value", 0)


KIND = Kind(
    group="scheduling.k8s.io",
    version="v1",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    schema="io.k8s.api.scheduling.v1.PriorityClass",
    singular="priorityclass",
    short_names=("pc",),
    storage="priorityclasses",
    table=Table(_COLUMNS, _cells),
    rules=Rules(default=_default),
    storage_version_hash="1QwjyaZjj3Y=",
    generation=wish_changed,
)
