"""What the claims of a pod are in need of. Pure."""

from dataclasses import dataclass

from kybern.api.core_v1 import PersistentVolumeClaim, Pod, Volume
from kybern.api.storage_v1 import StorageClass
from kybern.loop.claims import claim_name, class_of, is_made_for
from kybern.loop.volume_marks import LATER
from kybern.loop.volumes import is_bound
from kybern.scheduler.changes import Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.objects import Objects

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Claims that have their volume, and claims whose volumes are chosen with the node.

    ``reason`` keeps the pod from every node; then there are no claims here.
    """

    bound: tuple[PersistentVolumeClaim, ...] = ()
    later: tuple[PersistentVolumeClaim, ...] = ()
    reason: str = ""


def wanted(pod: Pod, objects: Objects) -> Wanted:
    bound, later, open_ = [], [], False
    for volume in pod.spec.volumes:
        name = claim_name(pod, volume)
        if not name:
            continue
        claim = objects.get(PersistentVolumeClaim, name, pod.metadata.namespace)
        why = _unusable(pod, volume, name, claim)
        if claim is None or why:
            return Wanted(reason=why)
        if is_bound(claim):
            bound.append(claim)
        elif claim.spec.volume_name or not waits_for_node(claim, objects):
            open_ = True
        else:
            later.append(claim)
    # Said last: of claims that cannot be used at all, that is the more useful answer.
    return Wanted(reason=UNBOUND) if open_ else Wanted(tuple(bound), tuple(later))


def waits_for_node(claim: PersistentVolumeClaim, objects: Objects) -> bool:
    found = objects.get(StorageClass, class_of(claim)) if class_of(claim) else None
    return found is not None and found.volume_binding_mode == LATER


def _unusable(pod: Pod, volume: Volume, name: str, claim: PersistentVolumeClaim | None) -> str:
    made_for_pod = volume.persistent_volume_claim is None
    if claim is None:
        if made_for_pod:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if claim.status.phase == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volume_name}"'
    if claim.metadata.deletion_timestamp:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if made_for_pod and not is_made_for(claim, pod):
        space = pod.metadata.namespace
        return f"PVC {space}/{name} was not created for pod {space}/{pod.metadata.name} (pod is not owner)"
    return ""


def of_pod(facts: PodFacts, what: Happening) -> bool:
    """A hint: a claim of the pod, and no other, has changed."""
    meta = what.object.metadata
    return f"{meta.namespace}/{meta.name}" in facts.claims


def any_claim(facts: PodFacts, _what: Happening) -> bool:
    """A hint for what may concern every claim: the pod has one."""
    return bool(facts.claims)
