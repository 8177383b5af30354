"""Keep the status of PodDisruptionBudgets true: how many of their pods may be disrupted at this moment.

Reads PodDisruptionBudget, Pod, and whatever controls pods. Writes PodDisruptionBudget.status, Pod (its condition
DisruptionTarget, once it is stale).

The API server takes one of ``disruptionsAllowed`` for each eviction that it grants and notes the pod in
``disruptedPods``; such a pod does not count as healthy, until it is gone or was not deleted for two minutes after all.
When the wanted number cannot be told, nothing may be disrupted, and the condition says why (SyncFailed). A pod that
bears the condition DisruptionTarget for two minutes and was not deleted is not going to be: the condition is taken back.

A key names a budget, or a pod when it starts with ``pod/`` (no budget's name has a slash).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kybern.api.apps_v1 import Deployment, ReplicaSet, StatefulSet
from kybern.api.core_v1 import Pod, PodCondition, ReplicationController
from kybern.api.policy_v1 import PodDisruptionBudget
from kybern.controllers.disruption import status
from kybern.controllers.disruption.scale import Scales, scales_of
from kybern.loop.controller import Action, Again, Controller, Key, PatchStatus, View, WhenChanged
from kybern.loop.labels import LABEL, SELECTOR, asking, bearing, by_label, by_selector
from kybern.loop.owners import selector_of
from kybern.loop.pods import condition, is_terminal, with_condition
from kybern.loop.settings import Settings

_POD = "pod/"
_STALE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget, its pods, and what their owners ask for."""

    budget: PodDisruptionBudget
    pods: tuple[Pod, ...]
    scales: Scales
    now: datetime


@dataclass(frozen=True, slots=True)
class Marked:
    """A pod that somebody said is going to be disrupted."""

    pod: Pod
    now: datetime


type State = Budget | Marked


def observe(view: View, key: Key) -> State | None:
    if key.name.startswith(_POD):
        pod = view.get(Pod, key.namespace, key.name.removeprefix(_POD))
        return Marked(pod, view.now) if pod is not None else None
    budget = view.get(PodDisruptionBudget, *key)
    if budget is None:
        return None
    pods = tuple(_pods(view, budget))
    return Budget(budget, pods, scales_of(view, budget, pods), view.now)


def _pods(view: View, budget: PodDisruptionBudget) -> Iterable[Pod]:
    chosen = budget.spec.selector
    if chosen is None:
        return
    selector = selector_of(chosen)
    for pod in bearing(view, Pod, budget.metadata.namespace, chosen.match_labels):
        if selector.matches(pod.metadata.labels):
            yield pod


def selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """No selector selects nothing, an empty one all pods of the namespace."""
    selector = budget.spec.selector
    return selector is not None and selector_of(selector).matches(pod.metadata.labels)


def diff(state: State) -> Iterable[Action]:
    if isinstance(state, Marked):
        yield from _unmark(state)
    else:
        yield from status.diff(state.budget, state.pods, state.scales, state.now)


def is_marked(pod: Pod) -> bool:
    """Whether a pod's DisruptionTarget may turn out to be stale: a kubelet's own never does."""
    found = condition(pod, "DisruptionTarget")
    return (
        found is not None
        and found.status == "True"
        and found.reason != "TerminationByKubelet"
        and pod.metadata.deletion_timestamp is None
        and not is_terminal(pod)
    )


def _unmark(state: Marked) -> Iterable[Action]:
    pod = state.pod
    found = condition(pod, "DisruptionTarget")
    if found is None or not is_marked(pod):
        return
    since = found.last_transition_time or state.now
    left = (since + _STALE - state.now).total_seconds()
    if left > 0:
        yield Again(left + 0.05)
        return
    wanted = PodCondition(
        type="DisruptionTarget", status="False", last_transition_time=state.now.replace(microsecond=0)
    )
    yield PatchStatus(pod, with_condition(pod, wanted))


def budgets_of(pod: Pod, view: View) -> Iterable[Key]:
    for budget in asking(view, PodDisruptionBudget, pod.metadata.namespace, pod.metadata.labels):
        if selects(budget, pod):
            yield Key(budget.metadata.namespace, budget.metadata.name)
    if is_marked(pod):
        yield Key(pod.metadata.namespace, _POD + pod.metadata.name)


def beside(owner: Any, view: View) -> Iterable[Key]:
    """The budgets of an owner's namespace: how many pods it wants may count for any of them."""
    for budget in view.list(PodDisruptionBudget, owner.metadata.namespace):
        yield Key(budget.metadata.namespace, budget.metadata.name)


def wish(owner: Any) -> tuple[object, ...]:
    """What of an owner counts for a budget."""
    return owner.spec.replicas, owner.metadata.owner_references, owner.metadata.uid


def asked_labels(budget: PodDisruptionBudget) -> Mapping[str, str]:
    return budget.spec.selector.match_labels if budget.spec.selector is not None else {}


def controller(_settings: Settings) -> Controller[State]:
    owners = (ReplicationController, ReplicaSet, Deployment, StatefulSet)
    return Controller(
        "disruption-controller",
        PodDisruptionBudget,
        observe,
        diff,
        watches=((Pod, budgets_of), *((kind, WhenChanged(wish, beside)) for kind in owners)),
        indexes=((Pod, LABEL, by_label), (PodDisruptionBudget, SELECTOR, by_selector(asked_labels))),
        source="controllermanager",
    )
