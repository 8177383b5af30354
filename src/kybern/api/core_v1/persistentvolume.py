"""PersistentVolume: a piece of storage, with the claim that it is bound to."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules import persistent
from kybern.api.rules.storage import access_modes, class_name
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import AGE, NAME, UNSET, age, deleting, dig, name, text, wide
from kybern.api.rules.volumes import default_source
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table

_COLUMNS = (
    NAME,
    Column("Capacity"),
    Column("Access Modes"),
    Column("Reclaim Policy"),
    Column("Status"),
    Column("Claim"),
    Column("StorageClass"),
    Column("VolumeAttributesClass"),
    Column("Reason"),
    AGE,
    wide("VolumeMode"),
)


def _cells(raw: Raw, now: float) -> list[Any]:
    spec, status_ = raw.get("spec") or {}, raw.get("status") or {}
    claim = spec.get("claimRef")
    return [
        name(raw),
        text(dig(spec, "capacity", "storage")),
        access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if deleting(raw) else status_.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        class_name(raw),
        spec.get("volumeAttributesClassName") or UNSET,
        status_.get("reason", ""),
        age(raw, now),
        spec.get("volumeMode") or UNSET,
    ]


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    default_source(spec)
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    spec.setdefault("volumeMode", "Filesystem")
    status_ = raw.setdefault("status", {})
    if not status_.get("phase"):
        status_["phase"] = "Pending"


def _on_create(raw: Raw) -> None:
    raw["status"] = {
        "phase": "Pending",
        "lastPhaseTransitionTime": raw["metadata"].get("creationTimestamp"),
    }


def _stamp(new: Raw, old: Raw, now: str) -> None:
    """Note when the phase changed, unless the writer says so itself (upstream's strategy for the status, KEP-3762)."""
    status_, before = new.setdefault("status", {}), old.get("status") or {}
    known = before.get("lastPhaseTransitionTime")
    if status_.get("phase") == before.get("phase"):
        if known and not status_.get("lastPhaseTransitionTime"):
            status_["lastPhaseTransitionTime"] = known
    elif status_.get("lastPhaseTransitionTime") in (None, known):
        status_["lastPhaseTransitionTime"] = now


_RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach "
    "is to use dynamic provisioning."
)


def _warnings(new: Raw, _old: Raw | None) -> Iterator[str]:
    if dig(new, "spec", "persistentVolumeReclaimPolicy") == "Recycle":
        yield _RECYCLE


KIND = Kind(
    group="",
    version="v1",
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    schema="io.k8s.api.core.v1.PersistentVolume",
    singular="persistentvolume",
    short_names=("pv",),
    storage="persistentvolumes",
    subresources=(status("PersistentVolume"),),
    table=Table(_COLUMNS, _cells),
    rules=Rules(
        default=_default,
        on_create=_on_create,
        stamp_status=_stamp,
        validate=persistent.volume,
        warnings=_warnings,
    ),
    storage_version_hash="HN/zwEC+JgM=",
)
