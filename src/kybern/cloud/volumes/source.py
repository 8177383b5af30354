"""What a claim's volume is to begin as: nothing, a snapshot, or what another volume holds (a clone). Pure.

The rules are those of external-provisioner: a source is of the claim's own namespace, of this driver, no larger than
what is asked for, and of the same volumeMode. What it is a copy of may go once the copy is there.
"""

from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.cloud.volumes import objects
from kybern.cloud.volumes.names import DRIVER
from kybern.cloud.volumes.snapshot_api import GROUP, VolumeSnapshot, VolumeSnapshotContent
from kybern.loop.claims import requested
from kybern.loop.controller import View
from kybern.loop.volumes import capacity
from kybern.machinery.quantity import parse


@dataclass(frozen=True, slots=True)
class Source:
    """``handle``: the snapshot's or the volume's, empty for none. ``wrong``, ``waits``: why there is none, or none yet."""

    handle: str = ""
    wrong: str = ""
    waits: str = ""


NONE = Source()


def source_of(view: View, claim: PersistentVolumeClaim) -> Source:
    """What the claim names. One that is deleted is finished as an empty volume: nobody will read it, and it has to go."""
    asked = claim.spec.data_source or claim.spec.data_source_ref
    if asked is None or claim.metadata.deletion_timestamp is not None:
        return NONE
    across = claim.spec.data_source_ref.namespace if claim.spec.data_source_ref is not None else ""
    what = asked.api_group, asked.kind
    if not across and what == ("", "PersistentVolumeClaim"):
        return _cloned(view, claim, asked.name)
    if not across and what == (GROUP, VolumeSnapshot.kind):
        return _restored(view, claim, asked.name)
    shown = f"{asked.kind} {asked.name}" + (f" of namespace {across}" if across else "")
    return Source(
        wrong=f"a volume cannot be made from {shown}: "
        "only from a VolumeSnapshot or a PersistentVolumeClaim of its own namespace"
    )


def _cloned(view: View, claim: PersistentVolumeClaim, name: str) -> Source:
    origin = view.get(PersistentVolumeClaim, claim.metadata.namespace, name)
    if origin is None or origin.metadata.deletion_timestamp is not None or origin.status.phase != "Bound":
        return Source(waits=f"claim {name} is not there, or not bound")
    volume = view.get(PersistentVolume, "", origin.spec.volume_name)
    if volume is None:
        return Source(waits=f"claim {name} has no volume")
    if not objects.is_ours(volume):
        return Source(wrong=f"the volume of claim {name} is not of {DRIVER}")
    if parse(requested(claim)) < capacity(volume):
        has = volume.spec.capacity.get("storage", "0")
        return Source(wrong=f"requested volume size is less than the size {has} of claim {name}")
    before, mode = volume.spec.volume_mode or "Filesystem", claim.spec.volume_mode or "Filesystem"
    if before != mode:
        return Source(wrong=f"claim {name} is of volumeMode {before}, and {mode} is asked for")
    return Source(handle=objects.handle_of(volume))


def _restored(view: View, claim: PersistentVolumeClaim, name: str) -> Source:
    snapshot = view.get(VolumeSnapshot, claim.metadata.namespace, name)
    if (
        snapshot is None
        or snapshot.metadata.deletion_timestamp is not None
        or not snapshot.status.ready_to_use
    ):
        return Source(waits=f"snapshot {name} is not there, or not ready")
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
