"""The kinds of snapshot.storage.k8s.io/v1, as far as they are read and written here (KEP-177).

Their CustomResourceDefinitions are templates/cloud_volumes/snapshot*.yaml.j2.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

import msgspec

from kybern.api.core_v1 import ObjectReference
from kybern.api.meta_v1 import ObjectMeta
from kybern.machinery.struct import Object, Struct

GROUP = "snapshot.storage.k8s.io"


class SnapshotError(Struct):
    message: str = ""
    time: datetime | None = None


class VolumeSnapshotSource(Struct):
    persistent_volume_claim_name: str = ""
    volume_snapshot_content_name: str = ""


class VolumeSnapshotSpec(Struct):
    source: VolumeSnapshotSource = VolumeSnapshotSource()
    volume_snapshot_class_name: str = ""


class VolumeSnapshotStatus(Struct):
    bound_volume_snapshot_content_name: str = ""
    creation_time: datetime | None = None
    error: SnapshotError | None = None
    ready_to_use: bool | None = None
    restore_size: str = ""


class VolumeSnapshot(Object):
    """A wish for a snapshot of a claim's volume, and where it is."""

    api_version: ClassVar[str] = f"{GROUP}/v1"
    kind: ClassVar[str] = "VolumeSnapshot"
    plural: ClassVar[str] = "volumesnapshots"
    namespaced: ClassVar[bool] = True
    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSnapshotSpec = VolumeSnapshotSpec()
    status: VolumeSnapshotStatus = VolumeSnapshotStatus()


class VolumeSnapshotContentSource(Struct):
    snapshot_handle: str = ""
    volume_handle: str = ""


class VolumeSnapshotContentSpec(Struct):
    deletion_policy: str = ""
    driver: str = ""
    source: VolumeSnapshotContentSource = VolumeSnapshotContentSource()
    source_volume_mode: str = ""
    volume_snapshot_class_name: str = ""
    volume_snapshot_ref: ObjectReference = ObjectReference()


class VolumeSnapshotContentStatus(Struct):
    """``creation_time`` in nanoseconds of the epoch, ``restore_size`` in bytes."""

    creation_time: int | None = None
    error: SnapshotError | None = None
    ready_to_use: bool | None = None
    restore_size: int | None = None
    snapshot_handle: str = ""


class VolumeSnapshotContent(Object):
    """A snapshot that the cloud has, or is to make."""

    api_version: ClassVar[str] = f"{GROUP}/v1"
    kind: ClassVar[str] = "VolumeSnapshotContent"
    plural: ClassVar[str] = "volumesnapshotcontents"
    namespaced: ClassVar[bool] = False
    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSnapshotContentSpec = VolumeSnapshotContentSpec()
    status: VolumeSnapshotContentStatus = VolumeSnapshotContentStatus()


class VolumeSnapshotClass(Object):
    """A driver, and whether a snapshot goes with its object."""

    api_version: ClassVar[str] = f"{GROUP}/v1"
    kind: ClassVar[str] = "VolumeSnapshotClass"
    plural: ClassVar[str] = "volumesnapshotclasses"
    namespaced: ClassVar[bool] = False
    metadata: ObjectMeta = ObjectMeta()
    driver: str = ""
    deletion_policy: str = ""
    parameters: Mapping[str, str] = msgspec.field(default_factory=dict)
