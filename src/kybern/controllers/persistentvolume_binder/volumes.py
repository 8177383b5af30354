"""What a volume needs next: its phase, and what becomes of it without its claim; pure.

    no claimRef, or one without uid ──> Available
    claim is there and names it     ──> Bound
    claim is gone, or has another   ──> Released, and reclaimed by its policy; or let go, if it was there before its claim

A volume whose driver is external waits for that driver as Released. One that stands for a path below /tmp of its node is
forgotten with its claim: what is in there is the node's (upstream empties the path on the controller's own machine).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.controllers.persistentvolume_binder import recycling
from kybern.controllers.persistentvolume_binder.claims import MIGRATED
from kybern.controllers.persistentvolume_binder.recycling import Recycler
from kybern.loop.controller import Action, Delete, Emit, Patch, PatchStatus
from kybern.loop.volume_marks import BOUND_BY_CONTROLLER, MIGRATED_TO, PROVISIONED_BY
from kybern.loop.volumes import same_mode
from kybern.machinery.struct import replace


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume, and the claim that its claimRef names by uid, too; who empties it, if somebody does."""

    volume: PersistentVolume
    claim: PersistentVolumeClaim | None = None
    recycler: Recycler | None = None


def diff(state: Volume) -> Iterable[Action]:
    volume, claim = state.volume, state.claim
    if volume.spec.claim_ref is None or not volume.spec.claim_ref.uid:
        yield from _phase(volume, "Available")
    elif claim is None:
        yield from _released(state)
    elif not claim.spec.volume_name:
        # The claim's own round binds it, unless they cannot go together.
        yield from _mismatch(volume, claim)
    elif claim.spec.volume_name == volume.metadata.name:
        yield from _phase(volume, "Bound")
    elif (
        PROVISIONED_BY in volume.metadata.annotations
        and volume.spec.persistent_volume_reclaim_policy == "Delete"
    ):
        yield from _released(state)
    else:
        yield _let_go(volume)


def _phase(volume: PersistentVolume, phase: str, message: str = "") -> Iterable[Action]:
    if volume.status.phase != phase:
        yield PatchStatus(
            volume, replace(volume, status=replace(volume.status, phase=phase, message=message))
        )


def _mismatch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> Iterable[Action]:
    if same_mode(volume, claim):
        return
    text = "due to incompatible volumeMode."
    of_volume = (
        f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{claim.metadata.name}" {text}'
    )
    of_claim = (
        f'Cannot bind PersistentVolume "{volume.metadata.name}" to requested PersistentVolumeClaim {text}'
    )
    yield Emit(volume, "Warning", "VolumeMismatch", of_volume)
    yield Emit(claim, "Warning", "VolumeMismatch", of_claim)


def _let_go(volume: PersistentVolume) -> Patch:
    """Take back what this controller did; what a person wrote stays, but for the uid."""
    marks = dict(volume.metadata.annotations)
    ref = volume.spec.claim_ref
    ours = marks.pop(BOUND_BY_CONTROLLER, None) is not None
    ref = None if ours or ref is None else replace(ref, uid="")
    metadata = replace(volume.metadata, annotations=marks)
    return Patch(volume, replace(volume, metadata=metadata, spec=replace(volume.spec, claim_ref=ref)))


def _released(state: Volume) -> Iterable[Action]:
    volume = state.volume
    # A failure stays to be seen.
    if volume.status.phase not in {"Released", "Failed"}:
        yield from _phase(volume, "Released")
        return
    if state.recycler is not None:
        yield from _recycled(volume, state.recycler)
        return
    reason, message = reclaiming(volume)
    if message:
        yield from _failed(volume, reason, message)
    elif _is_forgotten(volume):
        yield Delete(volume)


def _recycled(volume: PersistentVolume, recycler: Recycler) -> Iterable[Action]:
    found = recycling.outcome(volume, recycler)
    if found == "" and recycler.pod is not None:
        yield _let_go(volume)
        yield Delete(recycler.pod)
        yield Emit(volume, "Normal", "VolumeRecycled", "Volume recycled")
        return
    if found:
        yield from _failed(volume, recycling.FAILED, found)
    yield from recycling.working(volume, recycler)


def _failed(volume: PersistentVolume, reason: str, message: str) -> Iterable[Action]:
    if volume.status.phase != "Failed":
        yield from _phase(volume, "Failed", message)
        yield Emit(volume, "Warning", reason, message)


def reclaiming(volume: PersistentVolume) -> tuple[str, str]:
    """Why the volume cannot be reclaimed, as reason and message; empty when there is nothing to do here."""
    policy = volume.spec.persistent_volume_reclaim_policy
    if policy == "Retain" or volume.metadata.annotations.get(MIGRATED_TO):
        return "", ""
    if policy == "Recycle":
        return recycling.FAILED, "No recycler plugin found for the volume!"
    if policy == "Delete":
        wrong = _undeletable(volume)
        return ("VolumeFailedDelete", wrong) if wrong else ("", "")
    return "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy"


def _undeletable(volume: PersistentVolume) -> str:
    maker = volume.metadata.annotations.get(PROVISIONED_BY, "")
    if maker and (not maker.startswith("kubernetes.io/") or maker in MIGRATED):
        return ""
    if maker:
        return f"no volume plugin matched name: {maker}"
    spec = volume.spec
    if spec.host_path is not None:
        if _is_forgotten(volume):
            return ""
        return f"host_path deleter only supports /tmp/.+ but received provided {spec.host_path.path}"
    known = spec.csi or spec.local or spec.nfs
    wrong = "no deletable volume plugin matched" if known else "no volume plugin matched"
    return f'error getting deleter volume plugin for volume "{volume.metadata.name}": {wrong}'


def _is_forgotten(volume: PersistentVolume) -> bool:
    """Whether this controller is the one that deletes a volume: none has a driver, and its path is nobody's to keep."""
    path = volume.spec.host_path
    return (
        volume.spec.persistent_volume_reclaim_policy == "Delete"
        and path is not None
        and not volume.metadata.annotations.keys() & {PROVISIONED_BY, MIGRATED_TO}
        and re.search("/tmp/.+", path.path) is not None  # noqa: S108  # upstream's word
    )
