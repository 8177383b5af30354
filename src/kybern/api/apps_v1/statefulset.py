"""StatefulSet: pods with names and storage of their own, started and changed in order."""

from typing import Any

from kybern.api.rules import statefulsets
from kybern.api.rules.pods import warnings
from kybern.api.rules.podspec import default_template
from kybern.api.rules.subresources import SCALE, status
from kybern.api.rules.tables import AGE, NAME, age, containers, name, wide
from kybern.api.rules.volumes import claim_spec
from kybern.machinery import names
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    ready = f"{status_.get('readyReplicas') or 0}/{spec.get('replicas') or 0}"
    return [name(raw), ready, age(raw, now), *containers(spec.get("template"))]


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    default_template(spec)
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for moment in ("whenDeleted", "whenScaled"):
        if not retention.get(moment):
            retention[moment] = "Retain"
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("serviceName", "")
    for claim in spec.get("volumeClaimTemplates") or ():
        _claim(claim)
    status_ = raw.setdefault("status", {})
    status_.setdefault("replicas", 0)
    status_.setdefault("availableReplicas", 0)


def _claim(claim: Raw) -> None:
    claim.setdefault("apiVersion", "v1")
    claim.setdefault("kind", "PersistentVolumeClaim")
    claim.setdefault("metadata", {})
    claim_spec(claim.setdefault("spec", {}))
    claim.setdefault("status", {}).setdefault("phase", "Pending")


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
    rules=Rules(default=_default, validate=statefulsets.validate, warnings=warnings.workload),
    valid_name=names.dns1123_label,
    storage_version_hash="H+vl74LkKdo=",
    generation=wish_changed,
)
