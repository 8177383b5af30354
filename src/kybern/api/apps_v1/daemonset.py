"""DaemonSet: one pod on every node that qualifies."""

from typing import Any

from kybern.api.rules import workloads
from kybern.api.rules.pods import warnings
from kybern.api.rules.podspec import default_template
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, age, containers, dig, name, pairs, selector, wide
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

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


_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_STATUS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    default_template(spec)
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    status_ = raw.setdefault("status", {})
    for key in _STATUS:
        status_.setdefault(key, 0)
    # Upstream's type within has a field for it, which reading and writing the annotation goes through.
    if raw.get("metadata") is not None and not _annotated(raw):
        _annotate(raw, 0)


def _annotate(raw: Raw, generation: int) -> None:
    """An older version of this kind has a field for the template's generation; here it is an annotation."""
    raw["metadata"]["annotations"] = {
        **(raw["metadata"].get("annotations") or {}),
        _TEMPLATE_GENERATION: str(generation),
    }


def _annotated(raw: Raw) -> str:
    return str((raw["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, ""))


def _template_generation(raw: Raw) -> int:
    text_ = _annotated(raw)
    return int(text_) if text_.isdecimal() else 0


def _on_create(raw: Raw) -> None:
    _annotate(raw, max(1, _template_generation(raw)))


def _on_update(new: Raw, old: Raw) -> None:
    generation = _template_generation(old)
    changed = new["spec"].get("template") != old["spec"].get("template")
    _annotate(new, generation + changed)


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
    table=Table(_COLUMNS, _cells, unshown=_TEMPLATE_GENERATION),
    rules=Rules(
        default=_default,
        on_create=_on_create,
        on_update=_on_update,
        validate=workloads.daemon_set,
        warnings=warnings.workload,
    ),
    storage_version_hash="dd7pWHUlMKQ=",
    generation=wish_changed,
)
