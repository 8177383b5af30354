"""Deployment: replicas of a pod, and how they change from one version to the next."""

from typing import Any

from kybern.api.rules.subresources import SCALE, status
from kybern.api.rules.tables import AGE, NAME, age, containers, name, selector, wide
from kybern.machinery.kind import Column, Kind, Raw, Table, wish_changed

_COLUMNS = (
    NAME,
    Column("Ready"),
    Column("Up-to-date"),
    Column("Available"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
)


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    return [
        name(raw),
        f"{status_.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status_.get("updatedReplicas") or 0,
        status_.get("availableReplicas") or 0,
        age(raw, now),
        *containers(spec.get("template")),
        selector(spec.get("selector")),
    ]


KIND = Kind(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    namespaced=True,
    schema="io.k8s.api.apps.v1.Deployment",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    storage="deployments",
    subresources=(
        SCALE,
        status("Deployment", "apps"),
    ),
    table=Table(_COLUMNS, _cells),
    storage_version_hash="8aSe+NMegvE=",
    generation=wish_changed,
)
