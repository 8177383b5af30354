"""PodDisruptionBudget: how many of some pods must stay when others are moved on purpose."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import ports, within
from kybern.api.rules.causes import invalid, one_of
from kybern.api.rules.labels import selector
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple
from kybern.machinery import names
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed

_COLUMNS = (Column("Min Available"), Column("Max Unavailable"), Column("Allowed Disruptions", "integer"))


def _cells(raw: Raw) -> list[Any]:
    spec = raw.get("spec") or {}
    wanted = [spec.get("minAvailable"), spec.get("maxUnavailable")]
    allowed = dig(raw, "status", "disruptionsAllowed") or 0
    return [*("N/A" if value is None else str(value) for value in wanted), allowed]


_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})
    status_ = raw.setdefault("status", {})
    for key in _COUNTS:
        status_.setdefault(key, 0)


def _validate(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        shown = within.shown("PodDisruptionBudgetSpec", spec)
        yield invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
    for key, value in (("minAvailable", least), ("maxUnavailable", most)):
        yield from ports.amount_or_percent(f"spec.{key}", value)
        yield from ports.not_over_all(f"spec.{key}", value)
    yield from selector("spec.selector", spec.get("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None:
        yield from one_of("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))


KIND = Kind(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    namespaced=True,
    schema="io.k8s.api.policy.v1.PodDisruptionBudget",
    singular="poddisruptionbudget",
    short_names=("pdb",),
    storage="poddisruptionbudgets",
    subresources=(status("PodDisruptionBudget", "policy"),),
    table=simple(_COLUMNS, _cells),
    rules=Rules(default=_default, validate=_validate),
    allow_unconditional_update=False,
    valid_name=names.path_segment,
    storage_version_hash="EVWiDmWqyJw=",
    generation=wish_changed,
)
