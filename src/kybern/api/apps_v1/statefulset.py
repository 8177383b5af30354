"""StatefulSet: pods with names and storage of their own, started and changed in order."""

from typing import Any

from kybern.api.rules.subresources import SCALE, status
from kybern.api.rules.tables import AGE, NAME, age, containers, name, wide
from kybern.machinery.kind import Column, Kind, Raw, Table, wish_changed


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    ready = f"{status_.get('readyReplicas') or 0}/{spec.get('replicas') or 0}"
    return [name(raw), ready, age(raw, now), *containers(spec.get("template"))]


KIND = Kind(
    group="apps",
    version="v1",
    kind="StatefulSet",
    plural="statefulsets",
    namespaced=True,
    schema="io.k8s.api.apps.v1.StatefulSet",
    singular="statefulset",
    short_names=("sts",),
    categories=("all",),
    storage="statefulsets",
    subresources=(
        SCALE,
        status("StatefulSet", "apps"),
    ),
    table=Table((NAME, Column("Ready"), AGE, wide("Containers"), wide("Images")), _cells),
    storage_version_hash="H+vl74LkKdo=",
    generation=wish_changed,
)
