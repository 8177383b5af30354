"""VolumeAttachment: a wish to attach a volume to a node, and whether it is."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from kybern.api.rules import within
from kybern.api.rules.causes import all_invalid, required, unchanged
from kybern.api.rules.formats import subdomain
from kybern.api.rules.sources import driver_name
from kybern.api.rules.statuses import keep_metadata
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple, text
from kybern.api.rules.volumes import default_source
from kybern.machinery.errors import Cause
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


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    yield from driver_name("spec.attacher", spec.get("attacher", ""))
    source = spec.get("source") or {}
    volume, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if (volume is None) == (inline is None):
        text_ = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        yield required("spec.source", text_)
    elif volume is not None:
        yield from all_invalid("spec.source.persistentVolumeName", volume, subdomain(volume))
    node = spec.get("nodeName", "")
    yield from all_invalid("spec.nodeName", node, subdomain(node))
    if old is not None:
        show = partial(within.shown, "VolumeAttachmentSpec")
        yield from unchanged("spec", spec, old.get("spec") or {}, show)


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
    rules=Rules(default=_default, validate=_validate, on_status=keep_metadata),
    allow_unconditional_update=False,
    storage_version_hash="tJx/ezt6UDU=",
)
