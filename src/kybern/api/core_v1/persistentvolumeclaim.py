"""PersistentVolumeClaim: a wish for storage, and the volume that it got."""

from typing import Any

from kybern.api.rules.storage import access_modes, class_name
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, UNSET, age, deleting, dig, name, text, wide
from kybern.machinery.kind import Column, Kind, Raw, Table

_COLUMNS = (
    NAME,
    Column("Status"),
    Column("Volume"),
    Column("Capacity"),
    Column("Access Modes"),
    Column("StorageClass"),
    Column("VolumeAttributesClass"),
    AGE,
    wide("VolumeMode"),
)


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        name(raw),
        "Terminating" if deleting(raw) else status_.get("phase", ""),
        spec.get("volumeName", ""),
        text(dig(status_, "capacity", "storage")) if bound else "",
        access_modes(status_.get("accessModes")) if bound else "",
        class_name(raw),
        spec.get("volumeAttributesClassName") or UNSET,
        age(raw, now),
        spec.get("volumeMode") or UNSET,
    ]


KIND = Kind(
    group="",
    version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    namespaced=True,
    schema="io.k8s.api.core.v1.PersistentVolumeClaim",
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    storage="persistentvolumeclaims",
    subresources=(status("PersistentVolumeClaim"),),
    table=Table(_COLUMNS, _cells),
    storage_version_hash="QWTyNDq0dC4=",
)
