"""Which volume fits a claim; pure. Here because both the binder and the scheduler have to choose alike.

The rules are upstream's (component-helpers storage/volume and the binder's index).

A volume that names the claim already is the claim's, if it is large enough. Else: of the volumes that nobody claims, with
the claim's class, mode, attributes, labels and at least its access modes, those with the fewest access modes, and of them
the smallest that is large enough.
"""

from collections.abc import Iterable
from functools import lru_cache

from kybern.api.core_v1 import ObjectReference, PersistentVolume, PersistentVolumeClaim
from kybern.loop.claims import BETA_CLASS, class_of, requested
from kybern.loop.owners import selector_of
from kybern.loop.volume_marks import BIND_COMPLETED, BOUND_BY_CONTROLLER
from kybern.machinery.quantity import Quantity, parse
from kybern.machinery.struct import replace


def class_of_volume(volume: PersistentVolume) -> str:
    """The storage class of a volume; empty for none. The annotation is older and counts first."""
    old = volume.metadata.annotations.get(BETA_CLASS)
    return old if old is not None else volume.spec.storage_class_name


def capacity(volume: PersistentVolume) -> Quantity:
    return _parsed(volume.spec.capacity.get("storage", "0"))


# A cluster has many volumes and few sizes.
_parsed = lru_cache(1024)(parse)


def is_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether a volume names this claim; one that was prebound by hand names no uid."""
    ref = volume.spec.claim_ref
    return (
        ref is not None
        and (ref.namespace, ref.name) == (claim.metadata.namespace, claim.metadata.name)
        and ref.uid in {"", claim.metadata.uid}
    )


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether the binder is done with a claim; one that only names a volume may still be refused it."""
    return bool(claim.spec.volume_name) and BIND_COMPLETED in claim.metadata.annotations


def taken(volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
    """The volume when it names this claim, by uid, too; marked as ours unless a person wrote the name."""
    metadata, ref = volume.metadata, volume.spec.claim_ref
    if not is_for(volume, claim):
        metadata = replace(metadata, annotations={**metadata.annotations, BOUND_BY_CONTROLLER: "yes"})
    if ref is None or not is_for(volume, claim) or not ref.uid:
        ref = ObjectReference(
            api_version=claim.api_version,
            kind=claim.kind,
            namespace=claim.metadata.namespace,
            name=claim.metadata.name,
            uid=claim.metadata.uid,
            resource_version=claim.metadata.resource_version,
        )
    return replace(volume, metadata=metadata, spec=replace(volume.spec, claim_ref=ref))


def same_mode(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return (volume.spec.volume_mode or "Filesystem") == (claim.spec.volume_mode or "Filesystem")


def same_attributes(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return (volume.spec.volume_attributes_class_name or "") == (claim.spec.volume_attributes_class_name or "")


def has_modes(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return set(claim.spec.access_modes) <= set(volume.spec.access_modes)


def refusal(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why a claim may not have the volume that it names, in upstream's words; empty when it may."""
    if volume.metadata.deletion_timestamp is not None:
        return f'the volume is marked for deletion "{volume.metadata.name}"'
    if capacity(volume) < parse(requested(claim)):
        return "requested PV is too small"
    if class_of_volume(volume) != class_of(claim):
        return "storageClassName does not match"
    if not same_attributes(volume, claim):
        return "volumeAttributesClassName does not match"
    if not same_mode(volume, claim):
        return "incompatible volumeMode"
    return "" if has_modes(volume, claim) else "incompatible accessMode"


def best(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume], *, delayed: bool
) -> PersistentVolume | None:
    """The volume that a claim gets; None when it has to wait. ``delayed``: only one that names it already."""
    size = parse(requested(claim))
    usable = [
        one
        for one in volumes
        if capacity(one) >= size
        and one.metadata.deletion_timestamp is None
        and has_modes(one, claim)
        and same_mode(one, claim)
        and same_attributes(one, claim)
    ]
    named = [one for one in usable if is_for(one, claim)]
    if named:
        return min(named, key=_order)
    free = [] if delayed else [one for one in usable if is_free(one, claim)]
    return min(free, key=_order, default=None)


def is_free(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether a claim may look for a volume like this: nobody has it, and class and labels are right."""
    # One that is not Available yet will be in a moment: taking it now would only make a conflict.
    selector = claim.spec.selector
    return (
        volume.spec.claim_ref is None
        and volume.status.phase == "Available"
        and class_of_volume(volume) == class_of(claim)
        and (selector is None or selector_of(selector).matches(volume.metadata.labels))
    )


def _order(volume: PersistentVolume) -> tuple[int, Quantity, str]:
    return len(volume.spec.access_modes), capacity(volume), volume.metadata.name
