"""Deployment: replicas of a pod, and how they change from one version to the next."""

from typing import Any

from kybern.api.rules import workloads
from kybern.api.rules.pods import warnings
from kybern.api.rules.podspec import default_template
from kybern.api.rules.statuses import keep_labels
from kybern.api.rules.subresources import SCALE, status
from kybern.api.rules.tables import AGE, NAME, age, containers, dig, name, selector, wide
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

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


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    default_template(spec)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    raw.setdefault("status", {})


def _generation(new: Raw, old: Raw) -> bool:
    """Annotations count, too: kubectl keeps the cause of a change there, and the controller copies them on."""
    annotations = [dig(raw, "metadata", "annotations") or {} for raw in (new, old)]
    return annotations[0] != annotations[1] or wish_changed(new, old)


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
    rules=Rules(
        default=_default,
        validate=workloads.deployment,
        warnings=warnings.named_workload,
        on_status=keep_labels,
    ),
    storage_version_hash="8aSe+NMegvE=",
    generation=_generation,
)
