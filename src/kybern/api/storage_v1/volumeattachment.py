"""VolumeAttachment: a wish to attach a volume to a node, and whether it is."""

from typing import Any

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple, text
from kybern.api.rules.volumes import default_source
from kybern.machinery.kind import Column, Kind, Raw, Rules

_COLUMNS = (Column("Attacher", format="name"), Column("PV"), Column("Node"), Column("Attached", "boolean"))


def _cells(raw: Raw) -> list[Any]:
    spec = raw.get("spec") or {}
    volume = text(dig(spec, "source", "persistentVolumeName"))
    return [spec.get("attacher", ""), volume, spec.get("nodeName", ""), bool(dig(raw, "status", "attached"))]


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    inline = dig(spec, "source", "inlineVolumeSpec")
    if inline is not None:
        default_source(inline)
    raw.setdefault("status", {}).setdefault("attached", False)


KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    schema="io.k8s.api.storage.v1.VolumeAttachment",
    singular="volumeattachment",
    storage="volumeattachments",
    subresources=(status("VolumeAttachment", "storage.k8s.io"),),
    table=simple(_COLUMNS, _cells),
    rules=Rules(default=_default),
    allow_unconditional_update=False,
    storage_version_hash="tJx/ezt6UDU=",
)
