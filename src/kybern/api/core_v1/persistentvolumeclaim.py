"""PersistentVolumeClaim: a wish for storage, and the volume that it got."""

from typing import Any

from kybern.api.rules import persistent
from kybern.api.rules.storage import access_modes, class_name
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, UNSET, age, deleting, dig, name, text, wide
from kybern.api.rules.volumes import claim_spec
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table

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


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    claim_spec(spec)
    for key in ("dataSource", "dataSourceRef"):
        if spec.get(key) is not None:
            spec[key].setdefault("apiGroup", None)
    status_ = raw.setdefault("status", {})
    if not status_.get("phase"):
        status_["phase"] = "Pending"


_SNAPSHOTS = ("snapshot.storage.k8s.io", "VolumeSnapshot")


def _known_source(source: Raw) -> bool:
    group, kind = source.get("apiGroup") or "", source.get("kind")
    return (group, kind) in (("", "PersistentVolumeClaim"), _SNAPSHOTS)


def _normalise(spec: Raw) -> None:
    """Where the data comes from has two names; what is said by one is said by the other, within a namespace."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {key: value for key, value in reference.items() if key != "namespace"}


def _on_create(raw: Raw) -> None:
    raw["status"] = {"phase": "Pending"}
    source = raw["spec"].get("dataSource")
    if source is not None and not _known_source(source):
        del raw["spec"]["dataSource"]
    _normalise(raw["spec"])


def _on_update(new: Raw, old: Raw) -> None:
    _normalise(new["spec"])
    _normalise(old["spec"])


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
    rules=Rules(default=_default, on_create=_on_create, on_update=_on_update, validate=persistent.claim),
    storage_version_hash="QWTyNDq0dC4=",
)
