"""Which pods leave a node so that one of higher priority can run there. Pure.

What holds, as upstream has it (pkg/scheduler/framework/preemption, plugins/defaultpreemption): only pods of lower priority
leave; of those, as many as possible stay, the more important ones first, and those whose disruption budget is used up
before the others. Among nodes the choice is by, in this order: fewest budgets broken, the least important of the most
important victims, the least sum of priorities, the fewest victims, the latest start of the most important victim.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kybern.api.core_v1 import Pod
from kybern.api.policy_v1 import PodDisruptionBudget
from kybern.loop.owners import selector_of
from kybern.scheduler.framework import Cluster, NodeInfo, Refuse

NEVER = "not eligible due to preemptionPolicy=Never."
WAITING = "not eligible due to a terminating pod on the nominated node."
REASON = "PreemptionByScheduler"


@dataclass(frozen=True, slots=True)
class Victims:
    """Who leaves a node, the most important first. ``violations`` counts those whose budget does not allow it."""

    node: str
    pods: tuple[Pod, ...]
    violations: int


def priority(pod: Pod) -> int:
    return pod.spec.priority or 0


def ineligible(pod: Pod, promised: Iterable[Pod], leaving: Container[str]) -> str:
    """Why a pod may not make others leave, in upstream's words; "" when it may.

    ``promised`` are the pods of the node that it was promised before: while some are leaving it, the pod waits.
    ``leaving`` are the uids of those that were told to go, which the watch may not show yet.
    """
    if pod.spec.preemption_policy == "Never":
        return NEVER
    lower = (one for one in promised if priority(one) < priority(pod))
    if any(one.metadata.uid in leaving or _leaves_for_another(one) for one in lower):
        return WAITING
    return ""


def candidates(
    pod: Pod,
    helpful: Container[str],
    cluster: Cluster,
    refuses: Sequence[Refuse],
    budgets: Sequence[PodDisruptionBudget],
) -> Iterator[Victims]:
    """The victims on each of the nodes named as helpful where somebody's leaving helps."""
    for info in cluster.nodes:
        if info.node.metadata.name in helpful and (victims := _on(pod, info, cluster, refuses, budgets)):
            yield victims


def shortlist(found: Iterable[Victims], number: int) -> list[Victims]:
    """So many, and more only as long as each of them would break a budget."""
    listed: list[Victims] = []
    for one in found:
        listed.append(one)
        if len(listed) >= number and any(not each.violations for each in listed):
            break
    return listed


def best(found: Iterable[Victims]) -> Victims | None:
    """The node that loses least."""
    return min(found, key=_cost, default=None)


def _on(
    pod: Pod,
    now: NodeInfo,
    cluster: Cluster,
    refuses: Sequence[Refuse],
    budgets: Sequence[PodDisruptionBudget],
) -> Victims | None:
    """The victims on one node; None when nobody's leaving helps there."""
    pods, others = now.pods, tuple(one for one in cluster.nodes if one is not now)

    def fits(there: Sequence[Pod]) -> bool:
        info = NodeInfo(now.node, tuple(there))
        then = Cluster((*others, info), cluster.objects)
        return not any(refuse(pod, info, then) for refuse in refuses)

    kept = [one for one in pods if priority(one) >= priority(pod)]
    lower = sorted((one for one in pods if priority(one) < priority(pod)), key=_importance)
    if not lower or not fits(kept):
        return None
    protected = _protected(lower, budgets)
    leaving, violations = [], 0
    for one in sorted(lower, key=lambda each: each.metadata.uid not in protected):
        if fits([*kept, one]):
            kept.append(one)
        else:
            leaving.append(one)
            violations += one.metadata.uid in protected
    return Victims(now.node.metadata.name, tuple(sorted(leaving, key=_importance)), violations)


def _importance(pod: Pod) -> tuple[int, datetime]:
    """The more important first: by priority, then by how long it has been running."""
    return -priority(pod), _start(pod)


def _start(pod: Pod) -> datetime:
    return pod.status.start_time or datetime.max.replace(tzinfo=UTC)


def _cost(victims: Victims) -> tuple[int, int, int, int, float]:
    priorities = [priority(one) for one in victims.pods]
    highest = max(priorities)
    # Priorities may be negative: lifted, so that more victims never cost less.
    total = sum(each + 2**31 for each in priorities)
    earliest = min(_start(one) for one in victims.pods if priority(one) == highest)
    return victims.violations, highest, total, len(victims.pods), -earliest.timestamp()


def _protected(pods: Iterable[Pod], budgets: Sequence[PodDisruptionBudget]) -> set[str]:
    """The uids of those whose leaving would break a budget, when all of them left in this order."""
    left = [one.status.disruptions_allowed or 0 for one in budgets]
    found = set()
    for pod in pods:
        for at, budget in enumerate(budgets):
            if not _covers(budget, pod) or pod.metadata.name in budget.status.disrupted_pods:
                continue
            left[at] -= 1
            if left[at] < 0:
                found.add(pod.metadata.uid)
    return found


def _covers(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """A budget with an empty selector, or a pod without labels, is passed over here (upstream does so too)."""
    if (
        budget.metadata.namespace != pod.metadata.namespace
        or not pod.metadata.labels
        or not budget.spec.selector
    ):
        return False
    selector = selector_of(budget.spec.selector)
    return not selector.everything and selector.matches(pod.metadata.labels)


def _leaves_for_another(pod: Pod) -> bool:
    return bool(pod.metadata.deletion_timestamp) and any(
        one.type == "DisruptionTarget" and one.status == "True" and one.reason == REASON
        for one in pod.status.conditions
    )
