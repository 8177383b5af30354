"""ReplicaSet: a number of equal pods."""

from typing import Any

from kybern.api.rules import workloads
from kybern.api.rules.pods import warnings
from kybern.api.rules.podspec import default_template
from kybern.api.rules.subresources import SCALE, status
from kybern.api.rules.tables import AGE, NAME, age, containers, name, selector, wide
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

_COLUMNS = (
    NAME,
    Column("Desired", "integer"),
    Column("Current", "integer"),
    Column("Ready", "integer"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
)


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    return [
        name(raw),
        spec.get("replicas") or 0,
        status_.get("replicas") or 0,
        status_.get("readyReplicas") or 0,
        age(raw, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    default_template(spec)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    raw.setdefault("status", {}).setdefault("replicas", 0)


KIND = Kind(
    group="apps",
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    namespaced=True,
    schema="io.k8s.api.apps.v1.ReplicaSet",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    storage="replicasets",
    subresources=(
        SCALE,
        status("ReplicaSet", "apps"),
    ),
    table=Table(_COLUMNS, _cells),
    rules=Rules(default=_default, validate=workloads.replica_set, warnings=warnings.named_workload),
    storage_version_hash="P1RzHs8/mWQ=",
    generation=wish_changed,
)
