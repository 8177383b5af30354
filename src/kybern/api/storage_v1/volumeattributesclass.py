"""VolumeAttributesClass: attributes of volumes that may change while they are used."""

from kybern.api.rules.tables import simple
from kybern.machinery.kind import Column, Kind

KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    schema="io.k8s.api.storage.v1.VolumeAttributesClass",
    singular="volumeattributesclass",
    short_names=("vac",),
    storage="volumeattributesclasses",
    table=simple((Column("DriverName"),), lambda raw: [raw.get("driverName", "")]),
    storage_version_hash="tIjydgKBC5w=",
)
