"""From a claim to the volume that is bound to it; each step may say why the pod has to wait."""

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod, Volume
from kybern.kubelet.volumes.plugin import CannotMount, Objects


class NotProcessed(CannotMount):
    """The claim does not lead to a volume yet; upstream tells of these in other words than of mounts."""


def claim_of(pod: Pod, volume: Volume) -> str:
    """The name of a volume's claim; empty for one that has none. An ephemeral volume's is named after the pod."""
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.claim_name
    return f"{pod.metadata.name}-{volume.name}" if volume.ephemeral is not None else ""


async def bound(objects: Objects, pod: Pod, volume: Volume) -> tuple[PersistentVolumeClaim, PersistentVolume]:
    """A volume's claim and what it is bound to. Raises NotProcessed."""
    namespace, name = pod.metadata.namespace, claim_of(pod, volume)
    try:
        claim = await objects.claim(namespace, name)
        if claim is None:
            raise NotProcessed(
                f'failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
            )
        _check(pod, volume, claim)
        found = await objects.persistent(claim.spec.volume_name)
        if found is None:
            raise NotProcessed(
                f"failed to fetch PV {claim.spec.volume_name} from API server: "
                f'persistentvolumes "{claim.spec.volume_name}" not found'
            )
        _belongs(found, claim)
        _check_use(pod, volume.name, claim.spec.volume_mode or "Filesystem")
    except CannotMount as problem:
        raise NotProcessed(f"error processing PVC {namespace}/{name}: {problem}") from problem
    return claim, found


def _check(pod: Pod, volume: Volume, claim: PersistentVolumeClaim) -> None:
    meta = claim.metadata
    if volume.ephemeral is not None:
        owners = (owner.uid for owner in meta.owner_references if owner.controller)
        if pod.metadata.uid not in owners:
            raise CannotMount(
                f"PVC {meta.namespace}/{meta.name} was not created for pod "
                f"{pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"
            )
    if meta.deletion_timestamp is not None:
        raise CannotMount("can't start pod because PVC is being deleted")
    if claim.status.phase != "Bound" or not claim.spec.volume_name:
        raise CannotMount("PVC is not bound")


def _check_use(pod: Pod, name: str, mode: str) -> None:
    """A volume is used as what it is: a file system by mounts, a block device as a device."""
    every = (*pod.spec.init_containers, *pod.spec.containers)
    mounted = any(one.name == name for container in every for one in container.volume_mounts)
    given = any(one.name == name for container in every for one in container.volume_devices)
    if mounted and mode != "Filesystem":
        raise CannotMount(f"volume {name} has volumeMode {mode}, but is specified in volumeMounts")
    if given and mode != "Block":
        raise CannotMount(f"volume {name} has volumeMode {mode}, but is specified in volumeDevices")


def _belongs(found: PersistentVolume, claim: PersistentVolumeClaim) -> None:
    name, ref = found.metadata.name, found.spec.claim_ref
    if ref is None:
        raise CannotMount(
            f"found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        )
    if ref.uid != claim.metadata.uid:
        raise CannotMount(
            f"found PV object {name} but its pv.Spec.ClaimRef.UID {ref.uid} "
            f"does not point to claim.UID {claim.metadata.uid}"
        )
