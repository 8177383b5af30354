"""What the status of a budget is to say; pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from kybern.api.core_v1 import Pod
from kybern.api.meta_v1 import Condition, LabelSelector
from kybern.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from kybern.controllers.disruption.scale import Scales
from kybern.loop.conditions import settled
from kybern.loop.controller import Action, Again, Emit, PatchStatus
from kybern.loop.pods import is_ready
from kybern.loop.rollout import scaled
from kybern.machinery.struct import replace

# How long a pod that was granted to be evicted may take until its deletion shows.
_PATIENCE = timedelta(minutes=2)
_ALLOWED = "DisruptionAllowed"


def diff(
    budget: PodDisruptionBudget, pods: tuple[Pod, ...], scales: Scales, now: datetime
) -> Iterable[Action]:
    if scales.problem:
        yield from _failed(budget, scales.problem, now)
        return
    going = disrupted(budget, pods, now)
    found = _status(budget, pods, scales, going, now)
    if found != _plain(budget.status):
        yield from _told(budget, pods, scales)
        for pod in _left(budget, pods, now):
            where = f"{budget.metadata.namespace}/{budget.metadata.namespace}"
            message = f"Pod was expected by PDB {where} to be deleted but it wasn't"
            yield Emit(pod, "Warning", "NotDeleted", message)
        yield PatchStatus(budget, replace(budget, status=found))
    if going:
        yield Again((min(going.values()) + _PATIENCE - now).total_seconds() + 0.05)


def _plain(status: PodDisruptionBudgetStatus) -> PodDisruptionBudgetStatus:
    """Zero and absent are the same."""
    return replace(
        status,
        current_healthy=status.current_healthy or 0,
        desired_healthy=status.desired_healthy or 0,
        expected_pods=status.expected_pods or 0,
        disruptions_allowed=status.disruptions_allowed or 0,
    )


def _told(budget: PodDisruptionBudget, pods: tuple[Pod, ...], scales: Scales) -> Iterable[Action]:
    """Upstream says so in every round; here it is said with every change, since a loop must come to rest."""
    if not pods:
        yield Emit(budget, "Normal", "NoPods", "No matching pods found")
    if scales.unmanaged:
        message = (
            f"Pods selected by this PodDisruptionBudget (selector: {shown(budget.spec.selector)}) were found to be "
            "unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in "
            'undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an '
            "integer value."
        )
        yield Emit(budget, "Warning", "UnmanagedPods", message)


def shown(selector: LabelSelector | None) -> str:
    """A selector as Go prints it."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.key},Operator:{one.operator},Values:[{' '.join(one.values)}],}},"
        for one in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def disrupted(budget: PodDisruptionBudget, pods: Iterable[Pod], now: datetime) -> Mapping[str, datetime]:
    """Pods that an eviction was granted for and that are still there without being deleted; not for ever."""
    noted = budget.status.disrupted_pods
    return {
        pod.metadata.name: noted[pod.metadata.name]
        for pod in pods
        if pod.metadata.deletion_timestamp is None
        and pod.metadata.name in noted
        and noted[pod.metadata.name] + _PATIENCE >= now
    }


def _left(budget: PodDisruptionBudget, pods: Iterable[Pod], now: datetime) -> Iterable[Pod]:
    noted = budget.status.disrupted_pods
    for pod in pods:
        since = noted.get(pod.metadata.name)
        if since is not None and since + _PATIENCE < now and pod.metadata.deletion_timestamp is None:
            yield pod


def _healthy(pods: Iterable[Pod], going: Mapping[str, datetime], now: datetime) -> int:
    return sum(
        pod.metadata.deletion_timestamp is None
        and not (pod.metadata.name in going and going[pod.metadata.name] + _PATIENCE > now)
        and is_ready(pod)
        for pod in pods
    )


def wanted(budget: PodDisruptionBudget, expected: int) -> int:
    """The pods that must be healthy for nothing to be disrupted that must not be."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        return max(expected - scaled(spec.max_unavailable, expected, up=True), 0)
    return scaled(spec.min_available, expected, up=True)


def _status(
    budget: PodDisruptionBudget,
    pods: tuple[Pod, ...],
    scales: Scales,
    going: Mapping[str, datetime],
    now: datetime,
) -> PodDisruptionBudgetStatus:
    healthy, needed = _healthy(pods, going, now), wanted(budget, scales.expected)
    # A budget without pods allows nothing: its first pods may come before it is looked at again.
    allowed = max(healthy - needed, 0) if scales.expected > 0 else 0
    condition = Condition(
        type=_ALLOWED,
        status="True" if allowed else "False",
        reason="SufficientPods" if allowed else "InsufficientPods",
        observed_generation=budget.metadata.generation,
    )
    return PodDisruptionBudgetStatus(
        current_healthy=healthy,
        desired_healthy=needed,
        expected_pods=scales.expected,
        disruptions_allowed=allowed,
        disrupted_pods=going,
        observed_generation=budget.metadata.generation,
        conditions=settled(budget.status.conditions, condition, now),
    )


def _failed(budget: PodDisruptionBudget, problem: str, now: datetime) -> Iterable[Action]:
    """Nothing may be disrupted as long as nobody knows how much that would be."""
    status = budget.status
    condition = Condition(
        type=_ALLOWED,
        status="False",
        reason="SyncFailed",
        message=problem,
        observed_generation=status.observed_generation,
    )
    found = replace(
        _plain(status), disruptions_allowed=0, conditions=settled(status.conditions, condition, now)
    )
    if found != _plain(status):
        message = f"Failed to calculate the number of expected pods: {problem}"
        yield Emit(budget, "Warning", "CalculateExpectedPodCountFailed", message)
        yield PatchStatus(budget, replace(budget, status=found))
