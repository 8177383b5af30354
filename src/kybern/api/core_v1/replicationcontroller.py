"""ReplicationController: the older ReplicaSet, with a plain map as its selector."""

from functools import partial
from typing import Any

from kybern.api.rules import workloads
from kybern.api.rules.pods import warnings
from kybern.api.rules.podspec import default_template
from kybern.api.rules.subresources import SCALE, status
from kybern.api.rules.tables import AGE, NAME, age, containers, dig, name, pairs, wide
from kybern.machinery import names
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

_SELECTABLE = {"status.replicas": lambda raw: str(dig(raw, "status", "replicas") or 0)}

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
        pairs(spec.get("selector")),
    ]


def _default(raw: Raw) -> None:
    """Selector and labels come from the template where they are not given."""
    spec = raw.setdefault("spec", {})
    if spec.get("template") is not None:
        default_template(spec)
    labels = dig(spec, "template", "metadata", "labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        metadata = raw.setdefault("metadata", {})
        if not metadata.get("labels"):
            metadata["labels"] = dict(labels)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    raw.setdefault("status", {}).setdefault("replicas", 0)


KIND = Kind(
    group="",
    version="v1",
    kind="ReplicationController",
    plural="replicationcontrollers",
    namespaced=True,
    schema="io.k8s.api.core.v1.ReplicationController",
    singular="replicationcontroller",
    short_names=("rc",),
    categories=("all",),
    storage="controllers",
    subresources=(
        SCALE,
        status("ReplicationController"),
    ),
    selectable=_SELECTABLE,
    table=Table(_COLUMNS, _cells),
    rules=Rules(
        default=_default, validate=workloads.replication_controller, warnings=warnings.named_workload
    ),
    storage_version_hash="Jond2If31h0=",
    # The only kind whose name is checked by a declared format, which counts bytes and says so.
    valid_name=partial(names.dns1123_subdomain, unit="bytes"),
    generation=wish_changed,
)
