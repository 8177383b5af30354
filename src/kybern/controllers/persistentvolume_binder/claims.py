"""What a claim needs next: a volume, somebody who makes one, or the end of its hope; pure.

    no bind-completed:  volumeName? ──yes──> that volume, if it is free and fits
                            │no
                        best match ──none──> default class? wait for a pod? provisioner? or: nothing can help
    bind-completed:     its volume must be there and name it, or the claim is Lost for ever

An object gets one write a round: what it brings about in the cache makes the next round, which finds less to do.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.api.storage_v1 import StorageClass
from kybern.loop import volumes as match
from kybern.loop.claims import class_of, has_class
from kybern.loop.controller import Action, Emit, Patch, PatchStatus
from kybern.loop.volume_marks import (
    BETA_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    LATER,
    PROVISIONER,
    SELECTED_NODE,
)
from kybern.machinery.quantity import parse
from kybern.machinery.struct import replace

# Provisioners that were once part of Kubernetes, and the drivers that took their work over (csi-translation-lib).
MIGRATED = {
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/azure-file": "file.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
    "kubernetes.io/vsphere-volume": "csi.vsphere.vmware.com",
}
HOST_PATH, NFS = "kubernetes.io/host-path", "kubernetes.io/nfs"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim; the volume that it names, if it is there; those it may have; its class; the default class; its pods."""

    claim: PersistentVolumeClaim
    named: PersistentVolume | None = None
    volumes: tuple[PersistentVolume, ...] = ()
    storage_class: StorageClass | None = None
    default: StorageClass | None = None
    waiting: tuple[str, ...] = ()


def diff(state: Claim) -> Iterable[Action]:
    if state.claim.metadata.deletion_timestamp is not None and not state.claim.spec.volume_name:
        return
    if BIND_COMPLETED in state.claim.metadata.annotations:
        yield from _bound(state.claim, state.named)
    elif state.claim.spec.volume_name:
        yield from _asking(state.claim, state.named)
    else:
        yield from _searching(state)


def _bound(claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> Iterable[Action]:
    if not claim.spec.volume_name:
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        yield from _lost(claim, "ClaimLost", text)
    elif volume is None:
        yield from _lost(
            claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        )
    elif volume.spec.claim_ref is None or volume.spec.claim_ref.uid == claim.metadata.uid:
        yield from bind(volume, claim)
    else:
        text = "Two claims are bound to the same volume, this one is bound incorrectly"
        yield from _lost(claim, "ClaimMisbound", text)


def _asking(claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> Iterable[Action]:
    if volume is None:
        yield from _pending(claim)
    elif volume.spec.claim_ref is None:
        wrong = match.refusal(volume, claim)
        if not wrong:
            yield from bind(volume, claim)
            return
        text = f'Cannot bind to requested volume "{volume.metadata.name}": {wrong}'
        yield Emit(claim, "Warning", "VolumeMismatch", text)
        yield from _pending(claim)
    elif match.is_for(volume, claim):
        yield from bind(volume, claim)
    else:
        text = f'volume "{volume.metadata.name}" already bound to a different claim.'
        yield Emit(claim, "Warning", "FailedBinding", text)
        yield from _pending(claim)


def _searching(state: Claim) -> Iterable[Action]:
    claim, found = state.claim, state.storage_class
    delayed = found is not None and found.volume_binding_mode == LATER
    volume = match.best(claim, state.volumes, delayed=delayed)
    if volume is not None:
        yield from bind(volume, claim)
    elif state.default is not None and not has_class(claim):
        wanted = replace(claim.spec, storage_class_name=state.default.metadata.name)
        yield Patch(claim, replace(claim, spec=wanted))
    elif delayed and SELECTED_NODE not in claim.metadata.annotations:
        yield _first_consumer(claim, state.waiting)
        yield from _pending(claim)
    elif class_of(claim):
        yield from _provision(claim, found)
    else:
        text = "no persistent volumes available for this claim and no storage class is set"
        yield Emit(claim, "Normal", "FailedBinding", text)
        yield from _pending(claim)


def _first_consumer(claim: PersistentVolumeClaim, pods: tuple[str, ...]) -> Emit:
    if not pods:
        text = "waiting for first consumer to be created before binding"
        return Emit(claim, "Normal", LATER, text)
    text = f"waiting for pod{'s' if len(pods) > 1 else ''} {','.join(pods)} to be scheduled"
    return Emit(claim, "Normal", "WaitForPodScheduled", text)


def _provision(claim: PersistentVolumeClaim, found: StorageClass | None) -> Iterable[Action]:
    """Say which driver shall make a volume; it watches for the annotations."""
    wrong = ""
    if found is None:
        wrong = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
    else:
        wrong = unprovisionable(found.provisioner)
    if found is None or wrong:
        yield Emit(claim, "Warning", "ProvisioningFailed", wrong)
        yield from _pending(claim)
        return
    name = MIGRATED.get(found.provisioner, found.provisioner)
    text = (
        f"Waiting for a volume to be created either by the external provisioner '{name}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered."
    )
    yield Emit(claim, "Normal", "ExternalProvisioning", text)
    marks = {**claim.metadata.annotations, PROVISIONER: name, BETA_PROVISIONER: name}
    if marks != claim.metadata.annotations:
        yield Patch(claim, replace(claim, metadata=replace(claim.metadata, annotations=marks)))
    else:
        yield from _pending(claim)


def unprovisionable(name: str) -> str:
    """Why a provisioner makes no volumes, "" when it does. Those of Kubernetes itself make none by default."""
    if not name.startswith("kubernetes.io/") or name in MIGRATED:
        return ""
    if name == HOST_PATH:
        return f'Failed to create provisioner: provisioning in volume plugin "{name}" is disabled'
    if name == NFS:
        return "no provisionable volume plugin matched"
    return f"no volume plugin matched name: {name}"


def _pending(claim: PersistentVolumeClaim) -> Iterable[Action]:
    status = replace(claim.status, phase="Pending", access_modes=(), capacity={})
    if status != claim.status:
        yield PatchStatus(claim, replace(claim, status=status))


def _lost(claim: PersistentVolumeClaim, reason: str, message: str) -> Iterable[Action]:
    if claim.status.phase == "Lost":
        return
    status = replace(claim.status, phase="Lost", access_modes=(), capacity={})
    yield PatchStatus(claim, replace(claim, status=status))
    yield Emit(claim, "Warning", reason, message)


def bind(volume: PersistentVolume, claim: PersistentVolumeClaim) -> Iterable[Action]:
    """Both name each other, the volume first: only then is it sure that no other claim gets it."""
    taken, given = match.taken(volume, claim), _given(claim, volume)
    if taken != volume:
        yield Patch(volume, taken)
    elif volume.status.phase != "Bound":
        status = replace(volume.status, phase="Bound", message="", reason="")
        yield PatchStatus(volume, replace(volume, status=status))
    if given != claim:
        yield Patch(claim, given)
        return
    settled = _settled(claim, volume)
    if settled != claim:
        yield PatchStatus(claim, settled)


def _given(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolumeClaim:
    marks = dict(claim.metadata.annotations)
    if claim.spec.volume_name != volume.metadata.name:
        marks.setdefault(BOUND_BY_CONTROLLER, "yes")
    marks.setdefault(BIND_COMPLETED, "yes")
    return replace(
        claim,
        metadata=replace(claim.metadata, annotations=marks),
        spec=replace(claim.spec, volume_name=volume.metadata.name),
    )


def _settled(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolumeClaim:
    """Its capacity is the volume's at first; from then on it grows only once the file system has grown, too."""
    old = claim.status
    size = old.capacity.get("storage")
    keeps = size is not None and (
        old.phase == "Bound" or parse(size) == parse(volume.spec.capacity.get("storage", "0"))
    )
    status = replace(
        old,
        phase="Bound",
        access_modes=volume.spec.access_modes,
        capacity=old.capacity if keeps else volume.spec.capacity,
        current_volume_attributes_class_name=old.current_volume_attributes_class_name
        or volume.spec.volume_attributes_class_name,
    )
    return replace(claim, status=status)
