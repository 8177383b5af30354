"""Who goes first. Pure.

Pods of which nothing is known, then those that use more than they asked for, then the less important, then the largest
use beyond what was asked (pkg/kubelet/eviction/helpers.go). Processes are not asked for: there importance comes first.
"""

from collections.abc import Callable, Iterable

from kybern.api.core_v1 import Pod
from kybern.kubelet.eviction.signals import PIDS, Threshold
from kybern.kubelet.resources import request_of
from kybern.kubelet.stats.use import NodeUse, PodUse

type _Rank = tuple[bool, bool, int, int]


def ranked(threshold: Threshold, pods: Iterable[Pod], found: NodeUse) -> list[Pod]:
    """The pods in the order in which they are given up for a threshold."""
    used = _measure(threshold, dedicated=found.dedicated_image_fs)
    by_uid = {pod.uid: pod for pod in found.pods}

    def rank(pod: Pod) -> _Rank:
        use, priority = by_uid.get(pod.metadata.uid), pod.spec.priority or 0
        if use is None:
            return False, False, priority, 0
        asked = _asked(threshold, pod)
        over = used(use) - asked
        exceeds = threshold.signal != PIDS and over > 0
        return True, not exceeds, priority, -over

    return sorted(pods, key=rank)


def _asked(threshold: Threshold, pod: Pod) -> int:
    """Inodes and processes cannot be asked for."""
    name = threshold.resource
    return request_of(pod, name) // 1000 if name in ("memory", "ephemeral-storage") else 0


def _measure(threshold: Threshold, *, dedicated: bool) -> Callable[[PodUse], int]:
    """What of a pod's use counts. ``dedicated``: images and what containers write have a file system of their own."""
    if threshold.resource == "memory":
        return memory
    if threshold.signal == PIDS:
        return lambda pod: pod.processes
    rootfs = not dedicated or threshold.signal.startswith("imagefs")
    rest = not dedicated or threshold.signal.startswith("nodefs")
    inodes = threshold.resource == "inodes"

    def of_disk(pod: PodUse) -> int:
        disk = pod.disk(rootfs=rootfs, logs=rest, volumes=rest)
        return disk.inodes if inodes else disk.used

    return of_disk


def memory(pod: PodUse) -> int:
    return pod.memory.working_set if pod.memory is not None else 0
