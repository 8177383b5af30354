"""What has to be thought of before a machine leaves a cluster: pure.

Which of its pods are evicted and waited for is kubectl drain's rule: not those of daemon sets, which would come again at
once, not mirrors of static pods, and not those that have ended.
"""

from collections.abc import Iterable

from kybern.api.core_v1 import Node, PersistentVolume, Pod
from kybern.api.node_selection import matches

MIRROR = "kubernetes.io/config.mirror"
ENDED = frozenset({"Succeeded", "Failed"})


def to_evict(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """The pods of a node that have to go elsewhere before it may leave."""
    return tuple(pod for pod in pods if not _stays(pod))


def to_move(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Those that come again elsewhere. One without a controller would be gone, and runs on when it is left alone."""
    return tuple(
        pod for pod in to_evict(pods) if any(owner.controller for owner in pod.metadata.owner_references)
    )


def _stays(pod: Pod) -> bool:
    of_daemon_set = any(
        owner.controller and owner.kind == "DaemonSet" for owner in pod.metadata.owner_references
    )
    return of_daemon_set or MIRROR in pod.metadata.annotations or pod.status.phase in ENDED


def bound_here(
    volumes: Iterable[PersistentVolume], node: Node, others: Iterable[Node]
) -> tuple[PersistentVolume, ...]:
    """The volumes that only this node can reach: what is on them goes with it."""
    rest = tuple(others)
    return tuple(
        volume
        for volume in volumes
        if _reaches(volume, node) and not any(_reaches(volume, other) for other in rest)
    )


def _reaches(volume: PersistentVolume, node: Node) -> bool:
    affinity = volume.spec.node_affinity
    required = affinity.required if affinity else None
    return required is None or any(matches(term, node) for term in required.node_selector_terms)
