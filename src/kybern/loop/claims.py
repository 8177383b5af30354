"""What can be said about persistent volume claims and the pods that use them; pure."""

from collections.abc import Iterable

from kybern.api.core_v1 import PersistentVolumeClaim, Pod, Volume
from kybern.loop.controller import Key, View
from kybern.loop.owners import controller_of

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def class_of(claim: PersistentVolumeClaim) -> str:
    """The storage class that a claim asks for; empty for none. The annotation is older and counts first."""
    old = claim.metadata.annotations.get(BETA_CLASS)
    return old if old is not None else claim.spec.storage_class_name or ""


def has_class(claim: PersistentVolumeClaim) -> bool:
    """Whether a claim says anything about its class; "" says that it wants none."""
    return BETA_CLASS in claim.metadata.annotations or claim.spec.storage_class_name is not None


def requested(claim: PersistentVolumeClaim) -> str:
    found = claim.spec.resources.requests if claim.spec.resources is not None else {}
    return found.get("storage", "0")


def claim_name(pod: Pod, volume: Volume) -> str:
    """The claim behind a volume of a pod: named, or made for the pod; empty when there is none."""
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.claim_name
    return f"{pod.metadata.name}-{volume.name}" if volume.ephemeral is not None else ""


def is_made_for(claim: PersistentVolumeClaim, pod: Pod) -> bool:
    """Whether a claim was made for an ephemeral volume of exactly this pod."""
    owner = controller_of(claim)
    return (
        owner is not None
        and owner.uid == pod.metadata.uid
        and claim.metadata.namespace == pod.metadata.namespace
    )


def by_claim(pod: Pod) -> Iterable[str]:
    """Index: pods by the claims behind their volumes, as namespace/name."""
    for volume in pod.spec.volumes:
        if name := claim_name(pod, volume):
            yield f"{pod.metadata.namespace}/{name}"


def claims_behind(pod: Pod, _view: View) -> Iterable[Key]:
    """The claims of a pod, as keys to wake."""
    for volume in pod.spec.volumes:
        if name := claim_name(pod, volume):
            yield Key(pod.metadata.namespace, name)
