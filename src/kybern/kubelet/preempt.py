"""Whom a pod that the system needs may push off the node, when there is no room for it. Pure.

Upstream's CriticalPodAdmissionHandler: only what is asked for can be freed so, and only by pods of less importance; those
without requests last of all, since they free nothing. As few as possible go, of the lowest class first.
"""

from collections.abc import Iterable
from dataclasses import replace

from kybern.api.core_v1 import Pod, PodCondition
from kybern.kubelet.admit import Room, critical, refuse
from kybern.kubelet.resources import qos
from kybern.kubelet.status import Verdict

VERDICT = Verdict(
    "Preempting",
    "Preempted in order to admit critical pod",
    condition=PodCondition(
        type="DisruptionTarget",
        status="True",
        reason="TerminationByKubelet",
        message="Pod was preempted by Kubelet to accommodate a critical pod.",
    ),
)
_CLASSES = ("BestEffort", "Burstable", "Guaranteed")
_FREED = ("OutOfcpu", "OutOfmemory", "OutOfephemeral-storage", "OutOfpods")


def victims(pod: Pod, room: Room) -> tuple[Pod, ...]:
    """Pods to end so that this one fits; none when it fits already, may not push, or would not fit even so."""
    if not critical(pod) or not _short(pod, room):
        return ()
    chosen: list[Pod] = []
    for candidate in sorted((one for one in room.others if _yields(one, pod)), key=_worth):
        chosen.append(candidate)
        if not _short(pod, _without(room, chosen)):
            return tuple(_needed(pod, room, chosen))
    return ()


def _short(pod: Pod, room: Room) -> bool:
    verdict = refuse(pod, room)
    return verdict is not None and verdict.reason in _FREED


def _yields(one: Pod, to: Pod) -> bool:
    return not critical(one) or (one.spec.priority or 0) < (to.spec.priority or 0)


def _worth(pod: Pod) -> tuple[int, int]:
    return _CLASSES.index(qos(pod)), pod.spec.priority or 0


def _without(room: Room, gone: Iterable[Pod]) -> Room:
    uids = {pod.metadata.uid for pod in gone}
    left = tuple(one for one in room.others if one.metadata.uid not in uids)
    return replace(room, others=left)


def _needed(pod: Pod, room: Room, chosen: list[Pod]) -> list[Pod]:
    """Without those whose end is not needed: the last ones may have freed enough alone."""
    kept = list(chosen)
    for candidate in chosen:
        fewer = [one for one in kept if one is not candidate]
        if not _short(pod, _without(room, fewer)):
            kept = fewer
    return kept
