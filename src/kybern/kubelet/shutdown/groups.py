"""In which order pods end when the node goes down, and how long each may take. Pure; the rules are upstream's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kybern.api.core_v1 import Pod, PodCondition
from kybern.kubelet.admit import CRITICAL
from kybern.kubelet.status import Verdict

MESSAGE = "Pod was terminated in response to imminent node shutdown."


@dataclass(frozen=True, slots=True)
class Period:
    """Seconds for the pods of a priority and all above it, up to the next."""

    priority: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Group:
    seconds: int
    pods: tuple[Pod, ...]


def periods(whole: float, critical: float, by_priority: Sequence[Period]) -> tuple[Period, ...]:
    """Those that are configured, from the lowest priority up; none where a shutdown is not waited for.

    ``whole`` and ``critical`` are shutdownGracePeriod and, as the last part of it, shutdownGracePeriodCriticalPods.
    """
    if by_priority:
        return tuple(sorted(by_priority, key=lambda period: period.priority))
    if not whole:
        return ()
    return Period(0, int(whole - critical)), Period(CRITICAL, int(critical))


def check(whole: float, critical: float, by_priority: Sequence[Period]) -> None:
    """Raises ValueError for periods that cannot be."""
    for name, seconds in (("shutdownGracePeriod", whole), ("shutdownGracePeriodCriticalPods", critical)):
        if seconds and seconds < 1:
            raise ValueError(f"{name} {seconds:g}s must be either zero or otherwise >= 1 sec")
    if critical > whole:
        raise ValueError(
            f"shutdownGracePeriodCriticalPods {critical:g}s must be <= shutdownGracePeriod {whole:g}s"
        )
    if by_priority and (whole or critical):
        raise ValueError("cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod")


def groups(configured: Sequence[Period], pods: Iterable[Pod]) -> tuple[Group, ...]:
    """Pods that end together, in the order of their end; without groups that nobody is in."""
    each: list[list[Pod]] = [[] for _period in configured]
    for pod in pods:
        below = [at for at, period in enumerate(configured) if period.priority <= (pod.spec.priority or 0)]
        each[max(below, default=0)].append(pod)
    return tuple(
        Group(period.seconds, tuple(found)) for period, found in zip(configured, each, strict=True) if found
    )


def verdict(pod: Pod, seconds: int) -> Verdict:
    """Why and how fast a pod ends: within the time of its group, or its own if that is shorter."""
    own = pod.spec.termination_grace_period_seconds
    return Verdict(
        "Terminated",
        MESSAGE,
        seconds if own is None else min(own, seconds),
        PodCondition(type="DisruptionTarget", status="True", reason="TerminationByKubelet", message=MESSAGE),
    )
