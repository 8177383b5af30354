"""As many pods as an owner asks for, and what its status says of them; pure.

The same for replica sets and replication controllers, which differ in their types only (``Family``).

Pods that the selector matches and nobody controls are adopted, those that it does not match any more are let go. Surplus
pods go in the order that loses least: not placed yet, not yet running, not ready, cheap to delete, crowded on one node,
ready for a shorter time, restarted more often, younger. At most BURST pods are made or deleted in one round.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log2
from typing import Any

from kybern.api.core_v1 import ContainerStatus, Pod
from kybern.api.meta_v1 import LabelSelector
from kybern.client.cache import OWNER
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Create,
    Delete,
    Emit,
    Failure,
    Key,
    PatchStatus,
    View,
)  # fmt: skip
from kybern.loop.owners import Claim, claim, controller_of, orphaned, selector_of, settle
from kybern.loop.pods import available_in, condition, is_active, is_ready
from kybern.loop.templates import pod_of, suffix
from kybern.machinery.struct import Struct, replace

BURST = 500
COST = "controller.kubernetes.io/pod-deletion-cost"
_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Family:
    """The types of one kind of owner, and where it keeps its selector. ``terminating``: its status counts those too."""

    kind: type[Any]
    status: type[Struct]
    condition: type[Any]
    selector: Callable[[Any], LabelSelector]
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class State:
    family: Family
    wanted: Any
    claim: Claim[Pod]
    related: Counter[str]
    now: datetime
    failure: Failure | None = None


def observe(family: Family, view: View, key: Key) -> State | None:
    wanted = view.get(family.kind, *key)
    if wanted is None:
        return None
    found = claim(
        wanted,
        selector_of(family.selector(wanted)),
        view.owned(Pod, wanted),
        filter(is_active, view.index(Pod, "orphan", key.namespace)),
    )
    if found.adoptable:
        # One that is being deleted, which the cache may not know yet, must not adopt.
        fresh = view.live(family.kind, *key)
        if (
            fresh is None
            or fresh.metadata.uid != wanted.metadata.uid
            or fresh.metadata.deletion_timestamp is not None
        ):
            return None
    return State(family, wanted, found, _related(family, view, wanted), view.now, view.failure)


def _related(family: Family, view: View, wanted: Any) -> Counter[str]:
    """How many active pods of this one and its siblings (same controller) each node has: crowded nodes lose first."""
    owner = controller_of(wanted)
    siblings = [wanted]
    if owner is not None:
        siblings = [one for one in view.index(family.kind, OWNER, owner.uid) if controller_of(one) == owner]
    pods = (pod for one in siblings for pod in view.owned(Pod, one) if is_active(pod))
    return Counter(pod.spec.node_name for pod in pods if pod.spec.node_name)


def worth(pod: Pod, state: State) -> tuple[object, ...]:
    """Sorts by what is lost with a pod; the first goes first."""
    ready = condition(pod, "Ready")
    since = ready.last_transition_time if ready is not None and ready.last_transition_time else _LONG_AGO
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}
    return (
        bool(pod.spec.node_name),
        phases.get(pod.status.phase, 0),
        is_ready(pod),
        _cost(pod),
        -state.related[pod.spec.node_name],
        -_magnitude(state.now, since) if is_ready(pod) else 0,
        -_restarts(pod.status.container_statuses),
        -_restarts(one for one in pod.status.init_container_statuses if one.name in _sidecars(pod)),
        -_magnitude(state.now, pod.metadata.creation_timestamp or state.now),
        pod.metadata.uid,
    )


def _restarts(found: Iterable[ContainerStatus]) -> int:
    return max((one.restart_count or 0 for one in found), default=0)


def _sidecars(pod: Pod) -> frozenset[str]:
    """The init containers that go on running."""
    return frozenset(one.name for one in pod.spec.init_containers if one.restart_policy == "Always")


def _cost(pod: Pod) -> int:
    text = pod.metadata.annotations.get(COST, "0")
    return int(text) if text.lstrip("-").isdecimal() else 0


def _magnitude(now: datetime, then: datetime) -> int:
    """Ages on a scale of powers of two: younger pods have smaller ones, and near ones the same."""
    return -int(log2(max((now - then).total_seconds(), 1.0)))


def new_pod(state: State, number: int) -> Pod:
    """A pod of the template. Its name is ours to make, and differs from round to round and from pod to pod."""
    owner = state.wanted
    name = f"{owner.metadata.name[:57]}-{suffix(owner, state.now.isoformat(), number)}"
    return pod_of(owner, owner.spec.template, name, f"{owner.metadata.name}-")


def diff(state: State) -> Iterable[Action]:
    yield from settle(state.wanted, state.claim)
    if state.claim.adoptable:
        return
    yield from status(state)
    wanted = state.wanted
    if wanted.metadata.deletion_timestamp is not None:
        return
    active = [pod for pod in state.claim.mine if is_active(pod)]
    missing = (wanted.spec.replicas or 0) - len(active)
    if missing > 0:
        yield from _more(state, min(missing, BURST))
    elif missing < 0:
        yield from _less(state, sorted(active, key=lambda pod: worth(pod, state))[: min(-missing, BURST)])


def _more(state: State, count: int) -> Iterable[Action]:
    if state.failure is not None and isinstance(state.failure.action, Create):
        message = f"Error creating: {state.failure.error.message}"
        yield Emit(state.wanted, "Warning", "FailedCreate", message)
    made = [new_pod(state, number) for number in range(count)]
    yield from (Create(pod) for pod in made)
    for pod in made:
        yield Emit(state.wanted, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")


def _less(state: State, surplus: Iterable[Pod]) -> Iterable[Action]:
    if state.failure is not None and isinstance(state.failure.action, Delete):
        message = f"Error deleting: {state.failure.error.message}"
        yield Emit(state.wanted, "Warning", "FailedDelete", message)
    going = tuple(surplus)
    yield from (Delete(pod) for pod in going)
    for pod in going:
        yield Emit(state.wanted, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")


def failures(state: State) -> tuple[Any, ...]:
    """ReplicaFailure while pods cannot be made or deleted; other conditions stay."""
    old: tuple[Any, ...] = state.wanted.status.conditions
    others = tuple(one for one in old if one.type != "ReplicaFailure")
    if state.failure is None or not isinstance(state.failure.action, Create | Delete):
        return others
    reason = "FailedCreate" if isinstance(state.failure.action, Create) else "FailedDelete"
    before = next((one for one in old if one.type == "ReplicaFailure"), None)
    if before is not None and before.reason == reason:
        return old
    found = state.family.condition(
        type="ReplicaFailure",
        status="True",
        reason=reason,
        message=state.failure.error.message,
        last_transition_time=state.now.replace(microsecond=0),
    )
    return (*others, found)


def status(state: State) -> Iterable[Action]:
    """Counts of the pods as they are."""
    wanted = state.wanted
    active = [pod for pod in state.claim.mine if is_active(pod)]
    template = wanted.spec.template.metadata.labels.items()
    waits = [available_in(pod, wanted.spec.min_ready_seconds or 0, state.now) for pod in active]
    counts: dict[str, Any] = {
        "replicas": len(active),
        "fully_labeled_replicas": sum(template <= pod.metadata.labels.items() for pod in active) or None,
        "ready_replicas": sum(map(is_ready, active)) or None,
        "available_replicas": sum(wait == 0 for wait in waits) or None,
    }
    if state.family.terminating:
        counts["terminating_replicas"] = sum(
            pod.metadata.deletion_timestamp is not None for pod in state.claim.mine
        )
    found = state.family.status(
        **counts, observed_generation=wanted.metadata.generation, conditions=failures(state)
    )
    if _comparable(found) != _comparable(wanted.status):
        yield PatchStatus(wanted, replace(wanted, status=found))
    remaining = [wait for wait in waits if wait]
    if remaining:
        yield Again(min(remaining) + 0.1)


def _comparable(status: Any) -> tuple[object, ...]:
    """Zero and absent are the same."""
    return (
        status.replicas or 0,
        status.fully_labeled_replicas or 0,
        status.ready_replicas or 0,
        status.available_replicas or 0,
        getattr(status, "terminating_replicas", 0) or 0,
        status.observed_generation or 0,
        status.conditions,
    )


def _matching(family: Family, pod: Pod, view: View) -> Iterable[Key]:
    """A pod that nobody controls wakes whoever might adopt it; one with a controller its siblings' too is not needed."""
    if controller_of(pod) is None:
        for one in view.list(family.kind, pod.metadata.namespace):
            if selector_of(family.selector(one)).matches(pod.metadata.labels):
                yield Key(one.metadata.namespace, one.metadata.name)


def controller(name: str, family: Family, component: str = "") -> Controller[State]:
    """The control loop of one kind of owner."""
    return Controller(
        name,
        family.kind,
        lambda view, key: observe(family, view, key),
        diff,
        owns=(Pod,),
        watches=((Pod, lambda pod, view: _matching(family, pod, view)),),
        indexes=((Pod, "orphan", orphaned),),
        component=component,
    )
