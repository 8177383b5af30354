"""Empty a volume whose claim is gone and whose policy is Recycle, by a pod that mounts it; pure.

    Released ──> pod recycler-for-VOLUME in "default" ──succeeds──> the pod goes, the volume is Available again
                              └──fails──> Failed; the pod goes, and is made anew, when twice its time is over

The policy is old, and only volumes of hostPath and NFS know it (pkg/volume: plugins.go, recyclerclient).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.core_v1 import (
    Container,
    HostPathVolumeSource,
    NFSVolumeSource,
    PersistentVolume,
    Pod,
    PodSpec,
    Volume,
    VolumeMount,
)
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.loop.controller import Action, Again, Create, Delete, Emit
from kybern.loop.volumes import capacity

NAMESPACE, PREFIX = "default", "recycler-for-"
IMAGE = "registry.k8s.io/build-image/debian-base:bookworm-v1.0.6"
SCRUB = 'test -e /scrub && find /scrub -mindepth 1 -delete && test -z "$(ls -A /scrub)" || exit 1'
FAILED = "VolumeFailedRecycle"
MORE = 30  # seconds for each GiB of a volume, but at least ...
LEAST_PATH, LEAST_NFS = 60, 300
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Recycler:
    """The pod, if there is one; the pods that still use the claim, as namespace/name; the time."""

    now: datetime
    pod: Pod | None = None
    users: tuple[str, ...] = ()


def knows(volume: PersistentVolume) -> bool:
    return volume.spec.host_path is not None or volume.spec.nfs is not None


def seconds(volume: PersistentVolume) -> int:
    """How long the pod may take."""
    least = LEAST_PATH if volume.spec.host_path is not None else LEAST_NFS
    return max(MORE * (capacity(volume).value() // _GIB), least)


def pod_for(volume: PersistentVolume) -> Pod:
    found = volume.metadata
    owner = OwnerReference(
        api_version=volume.api_version, kind=volume.kind, name=found.name, uid=found.uid, controller=True
    )
    path, nfs = volume.spec.host_path, volume.spec.nfs
    mounted = Volume(
        name="vol",
        host_path=HostPathVolumeSource(path=path.path) if path else None,
        nfs=NFSVolumeSource(server=nfs.server, path=nfs.path) if nfs else None,
    )
    container = Container(
        name="pv-recycler",
        image=IMAGE,
        command=("/bin/sh",),
        args=("-c", SCRUB),
        volume_mounts=(VolumeMount(name="vol", mount_path="/scrub"),),
    )
    return Pod(
        metadata=ObjectMeta(name=PREFIX + found.name, namespace=NAMESPACE, owner_references=(owner,)),
        spec=PodSpec(
            active_deadline_seconds=seconds(volume),
            restart_policy="Never",
            volumes=(mounted,),
            containers=(container,),
        ),
    )


def working(volume: PersistentVolume, state: Recycler) -> Iterable[Action]:
    """What brings the emptying on, as long as it has neither succeeded nor failed."""
    if state.users:
        yield Emit(volume, "Normal", FAILED, f"Volume is used by pods: {','.join(state.users)}")
    elif state.pod is None:
        yield Create(pod_for(volume))
    elif not _ours(state.pod, volume):
        # Nobody can tell what a pod of that name did to the volume.
        yield Delete(state.pod)
    elif state.pod.status.phase == "Failed" and state.pod.metadata.creation_timestamp:
        age = (state.now - state.pod.metadata.creation_timestamp).total_seconds()
        left = 2 * seconds(volume) - age
        yield Again(left) if left > 0 else Delete(state.pod)


def outcome(volume: PersistentVolume, state: Recycler) -> str | None:
    """Why the volume could not be emptied, "" when it is empty, None: neither yet."""
    pod = state.pod
    if state.users or pod is None or not _ours(pod, volume) or pod.metadata.deletion_timestamp:
        return None
    if pod.status.phase == "Failed":
        return f"Recycle failed: {pod.status.message or 'pod failed, pod.Status.Message unknown'}"
    return "" if pod.status.phase == "Succeeded" else None


def _ours(pod: Pod, volume: PersistentVolume) -> bool:
    return any(one.uid == volume.metadata.uid for one in pod.metadata.owner_references)
