"""StorageClass: how volumes are made for claims."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import persistent
from kybern.api.rules.pods.warnings import deprecated_label
from kybern.api.rules.tables import AGE, NAME, age, dig, name
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table

_COLUMNS = (
    NAME,
    Column("Provisioner"),
    Column("ReclaimPolicy"),
    Column("VolumeBindingMode"),
    Column("AllowVolumeExpansion"),
    AGE,
)
_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def _cells(raw: Raw, now: float) -> list[Any]:
    shown, annotations = name(raw), dig(raw, "metadata", "annotations") or {}
    if any(annotations.get(key) == "true" for key in _DEFAULT):
        shown += " (default)"
    return [
        shown,
        raw.get("provisioner", ""),
        raw.get("reclaimPolicy", "Delete"),
        raw.get("volumeBindingMode", "Immediate"),
        raw.get("allowVolumeExpansion", False),
        age(raw, now),
    ]


def _default(raw: Raw) -> None:
    for key, value in (("reclaimPolicy", "Delete"), ("volumeBindingMode", "Immediate")):
        if not raw.get(key):
            raw[key] = value


def _warnings(new: Raw, _old: Raw | None) -> Iterator[str]:
    for i, term in enumerate(new.get("allowedTopologies") or ()):
        for j, expression in enumerate(term.get("matchLabelExpressions") or ()):
            at = f"allowedTopologies[{i}].matchLabelExpressions[{j}].key"
            yield from deprecated_label(at, expression.get("key", ""))


KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    schema="io.k8s.api.storage.v1.StorageClass",
    singular="storageclass",
    short_names=("sc",),
    storage="storageclasses",
    table=Table(_COLUMNS, _cells),
    rules=Rules(default=_default, validate=persistent.storage_class, warnings=_warnings),
    storage_version_hash="K+m6uJwbjGY=",
)
