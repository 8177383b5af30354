"""PriorityClass: a name for how important pods are."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules.causes import forbidden, one_of, required, unchanged
from kybern.api.rules.tables import AGE, NAME, age, name
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table

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
    if raw.get("preemptionPolicy") is None:
        raw["preemptionPolicy"] = "PreemptLowerPriority"
    raw.setdefault("value", 0)


_HIGHEST = 1000000000
_SYSTEM = {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}
_RESERVED = "priority class names with 'system-' prefix are reserved for system use only. error: "


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    name_, value, policy = (
        new["metadata"].get("name", ""),
        new.get("value", 0),
        new.get("preemptionPolicy", ""),
    )
    if old is None and name_.startswith("system-"):
        if name_ not in _SYSTEM:
            yield forbidden("metadata.name", f"{_RESERVED}{name_} is not a known system priority class")
    elif old is None and value > _HIGHEST:
        yield forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}")
    if old is not None and value != old.get("value", 0):
        yield forbidden("value", "may not be changed in an update.")
    if old is not None:
        yield from unchanged("preemptionPolicy", policy, old.get("preemptionPolicy", ""))
    elif not policy:
        yield required("preemptionPolicy")
    else:
        yield from one_of("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))


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
    rules=Rules(default=_default, validate=_validate),
    storage_version_hash="1QwjyaZjj3Y=",
    generation=lambda _new, _old: False,
)
