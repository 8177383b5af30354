"""What a claim's volume is to begin as: nothing, or a snapshot. Pure."""

from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolumeClaim
from kybern.cloud.volumes.names import DRIVER
from kybern.cloud.volumes.snapshot_api import GROUP, VolumeSnapshot, VolumeSnapshotContent
from kybern.loop.claims import requested
from kybern.loop.controller import View
from kybern.machinery.quantity import parse


@dataclass(frozen=True, slots=True)
class Source:
    """``handle``: the snapshot's, empty for none. ``wrong``, ``waits``: why there is none, or none yet."""

    handle: str = ""
    wrong: str = ""
    waits: str = ""


NONE = Source()


def source_of(view: View, claim: PersistentVolumeClaim) -> Source:
    """The rules are those of external-provisioner: a snapshot of the claim's own namespace, which is ready."""
    asked = claim.spec.data_source or claim.spec.data_source_ref
    if asked is None:
        return NONE
    across = claim.spec.data_source_ref.namespace if claim.spec.data_source_ref is not None else ""
    if (asked.api_group, asked.kind) != (GROUP, VolumeSnapshot.kind) or across:
        what = f"{asked.kind} {asked.name}" + (f" of namespace {across}" if across else "")
        return Source(
            wrong=f"a volume cannot be made from {what}: only from a VolumeSnapshot of its own namespace"
        )
    snapshot = view.get(VolumeSnapshot, claim.metadata.namespace, asked.name)
    if (
        snapshot is None
        or snapshot.metadata.deletion_timestamp is not None
        or not snapshot.status.ready_to_use
    ):
        return Source(waits=f"snapshot {asked.name} is not there, or not ready")
    content = view.get(VolumeSnapshotContent, "", snapshot.status.bound_volume_snapshot_content_name)
    return _of_content(claim, snapshot, content)


def _of_content(
    claim: PersistentVolumeClaim, snapshot: VolumeSnapshot, content: VolumeSnapshotContent | None
) -> Source:
    name = snapshot.metadata.name
    if content is None or not content.status.snapshot_handle:
        return Source(waits=f"snapshot {name} has no content")
    ref = content.spec.volume_snapshot_ref
    if ref.uid != snapshot.metadata.uid or content.spec.driver != DRIVER:
        return Source(
            wrong=f"content {content.metadata.name} is not of snapshot {name}, or of another driver"
        )
    size = content.status.restore_size or 0
    if parse(requested(claim)).value() < size:
        return Source(wrong=f"requested volume size is less than the size {size} of snapshot {name}")
    before, mode = content.spec.source_volume_mode, claim.spec.volume_mode or "Filesystem"
    if before and before != mode:
        return Source(wrong=f"snapshot {name} is of volumeMode {before}, and {mode} is asked for")
    return Source(handle=content.status.snapshot_handle)
