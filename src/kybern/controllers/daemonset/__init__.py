"""Keep one pod of a daemon set on every node that it is for.

Reads DaemonSet, Pod, Node, ControllerRevision. Writes Pod, ControllerRevision, DaemonSet.status.

A pod is bound to its node by an affinity to the node's name; the scheduler places it. Templates are kept as
ControllerRevisions, and pods bear their hash: a template that comes back finds its pods again, and restarts nothing.
Failed pods are replaced, later and later when they fail again and again. The order within a round: adopt, keep
revisions, make and delete pods, tell the status.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kybern.api.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from kybern.api.core_v1 import Node, Pod
from kybern.controllers.daemonset.plan import Place, Plan, State, age, plan
from kybern.controllers.daemonset.pods import new_pod, node_of, should_run
from kybern.loop.controller import (
    Action,
    Again,
    Controller,
    Create,
    Delete,
    Emit,
    Key,
    Patch,
    PatchStatus,
    View,
    WhenChanged,
)  # fmt: skip
from kybern.loop.owners import claim, controller_of, orphaned, selector_of, settle
from kybern.loop.pods import available_in, is_active, is_ready, is_terminal
from kybern.loop.revisions import LABEL, digest, history, made, name_of, surplus
from kybern.loop.settings import Settings
from kybern.loop.templates import suffix
from kybern.machinery.struct import replace

BURST = 250
_FIRST_WAIT = 1.0
_LAST_WAIT = 900.0


@dataclass(slots=True)
class Backoff:
    """How long a failed pod stays on a node: twice as long as the one before. Asking twice changes nothing."""

    # By daemon set and node: the last pod that failed, since when that is known, and how long it stays.
    seen: dict[tuple[Key, str], tuple[str, datetime, float]] = field(default_factory=dict)

    def left(self, owner: Key, node: str, pod: Pod, now: datetime) -> float:
        uid, since, wait = self.seen.get((owner, node), ("", now, 0.0))
        if uid != pod.metadata.uid:
            forgotten = now - since > timedelta(seconds=2 * _LAST_WAIT)
            # The first failure is not held against a pod.
            wait = 0.0 if not uid or forgotten else min(max(wait * 2, _FIRST_WAIT), _LAST_WAIT)
            since = now
            self.seen[owner, node] = (pod.metadata.uid, since, wait)
        return max(wait - (now - since).total_seconds(), 0.0)

    def forget(self, owner: Key) -> None:
        for key in [key for key in self.seen if key[0] == owner]:
            del self.seen[key]


def observe(view: View, key: Key, backoff: Backoff) -> State | None:
    wanted = view.get(DaemonSet, *key)
    if wanted is None:
        backoff.forget(key)
        return None
    selector = selector_of(wanted.spec.selector)
    pods = claim(
        wanted, selector, view.owned(Pod, wanted), filter(is_active, view.index(Pod, "orphan", key.namespace))
    )
    revisions = claim(
        wanted,
        selector,
        view.owned(ControllerRevision, wanted),
        view.index(ControllerRevision, "orphan", key.namespace),
    )
    if pods.adoptable or revisions.adoptable:
        # One that is being deleted, which the cache may not know yet, must not adopt.
        fresh = view.live(DaemonSet, *key)
        if fresh is None or fresh.metadata.uid != wanted.metadata.uid or fresh.metadata.deletion_timestamp:
            return None
    found = history(revisions.mine, wanted.spec.template)
    made_mark = digest(wanted.spec.template, wanted.status.collision_count)
    mark = found.current.metadata.labels.get(LABEL, made_mark) if found.current is not None else made_mark
    other = view.get(ControllerRevision, key.namespace, name_of(key.name, made_mark))
    places, lost = _places(view, wanted, pods.mine)
    held = {
        pod.metadata.uid: backoff.left(key, place.name, pod, view.now)
        for place in places
        for pod in place.pods
        if pod.status.phase == "Failed"
    }
    taken = found.current is None and other is not None and other not in revisions.adoptable
    return State(
        wanted, pods, revisions, found, places, lost, view.now, mark, held, taken, view.failure
    )  # fmt: skip


def _places(view: View, wanted: DaemonSet, pods: Iterable[Pod]) -> tuple[tuple[Place, ...], tuple[Pod, ...]]:
    by_node: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=age):
        # A pod that is over and on its way out is in nobody's way.
        if not (pod.metadata.deletion_timestamp is not None and is_terminal(pod)):
            by_node.setdefault(node_of(pod), []).append(pod)
    places = []
    for node in sorted(view.list(Node), key=lambda one: one.metadata.name):
        runs, stays = should_run(wanted, node)
        places.append(
            Place(node.metadata.name, runs, stays, tuple(by_node.pop(node.metadata.name, ())))
        )  # fmt: skip
    lost = tuple(
        pod
        for found in by_node.values()
        for pod in found
        if not pod.spec.node_name and pod.metadata.deletion_timestamp is None
    )
    return tuple(places), lost


def diff(state: State) -> Iterable[Action]:
    yield from settle(state.wanted, state.claim)
    yield from settle(state.wanted, state.revisions)
    wanted = state.wanted
    if state.claim.adoptable or state.revisions.adoptable:
        return
    if wanted.metadata.deletion_timestamp is not None:
        yield from status(state)
        return
    if state.taken:
        count = (wanted.status.collision_count or 0) + 1
        yield PatchStatus(wanted, replace(wanted, status=replace(wanted.status, collision_count=count)))
        return
    yield from _revise(state)
    # What is told goes before what may fail, so that it is told.
    yield from status(state)
    yield from _carry_out(state, plan(state))
    live = frozenset(pod.metadata.labels.get(LABEL, "") for pod in state.claim.mine)
    for one in surplus(state.history.old, live, wanted.spec.revision_history_limit):
        yield Delete(one)
    waits = [seconds for seconds in state.held.values() if seconds]
    if waits:
        yield Again(min(waits) + 0.1)


def _revise(state: State) -> Iterable[Action]:
    """The template's revision is there and has the highest number."""
    current, number = state.history.current, state.history.following
    if current is None:
        labels = {**state.wanted.spec.template.metadata.labels, LABEL: state.mark}
        yield Create(made(state.wanted, state.mark, number, labels, state.wanted.spec.template))
    elif (current.revision or 0) < number:
        yield Patch(current, replace(current, revision=number))


def _carry_out(state: State, found: Plan) -> Iterable[Action]:
    wanted, namespace = state.wanted, state.wanted.metadata.namespace
    for pod, node in found.told:
        name = f"{namespace}/{pod.metadata.name}"
        if pod.status.phase == "Failed":
            text = f"Found failed daemon pod {name} on node {node}, will try to kill it"
            yield Emit(wanted, "Warning", "FailedDaemonPod", text)
        else:
            text = f"Found succeeded daemon pod {name} on node {node}, will try to delete it"
            yield Emit(wanted, "Normal", "SucceededDaemonPod", text)
    if found.create and state.failure is not None and isinstance(state.failure.action, Create):
        yield Emit(wanted, "Warning", "FailedCreate", f"Error creating: {state.failure.error.message}")
    pods = [
        new_pod(
            wanted,
            node,
            state.mark,
            f"{wanted.metadata.name[:57]}-{suffix(wanted, state.now.isoformat(), node)}",
        )
        for node in found.create[:BURST]
    ]
    yield from map(Create, pods)
    for pod in pods:
        yield Emit(wanted, "Normal", "SuccessfulCreate", f"Created pod: {pod.metadata.name}")
    yield from map(Delete, found.delete[:BURST])
    for pod in found.delete[:BURST]:
        yield Emit(wanted, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")


def status(state: State) -> Iterable[Action]:
    """Counts over nodes; of several pods on one the oldest counts."""
    wanted = state.wanted
    first = [place.pods[0] for place in state.places if place.runs and place.pods]
    desired = sum(place.runs for place in state.places)
    available = sum(map(state.is_available, first))
    found = DaemonSetStatus(
        current_number_scheduled=len(first),
        desired_number_scheduled=desired,
        number_misscheduled=sum(bool(place.pods) and not place.runs for place in state.places),
        number_ready=sum(map(is_ready, first)),
        number_available=available or None,
        number_unavailable=desired - available or None,
        updated_number_scheduled=sum(map(state.is_updated, first)) or None,
        observed_generation=wanted.metadata.generation,
        collision_count=wanted.status.collision_count,
        conditions=wanted.status.conditions,
    )
    if found != wanted.status:
        yield PatchStatus(wanted, replace(wanted, status=found))
    waits = [available_in(pod, wanted.spec.min_ready_seconds or 0, state.now) for pod in first]
    remaining = [wait for wait in waits if wait]
    if remaining:
        yield Again(min(remaining) + 0.1)


def matching(item: Pod | ControllerRevision, view: View) -> Iterable[Key]:
    """What nobody controls wakes whoever might adopt it."""
    if controller_of(item) is None:
        for one in view.list(DaemonSet, item.metadata.namespace):
            if selector_of(one.spec.selector).matches(item.metadata.labels):
                yield Key(one.metadata.namespace, one.metadata.name)


def everywhere(_node: Node, view: View) -> Iterable[Key]:
    for one in view.list(DaemonSet):
        yield Key(one.metadata.namespace, one.metadata.name)


def fitness(node: Node) -> tuple[object, ...]:
    """What of a node decides whether a daemon is for it: its heartbeats do not."""
    return node.metadata.labels, node.spec.taints


def controller(_settings: Settings) -> Controller[State]:
    backoff = Backoff()
    return Controller(
        "daemonset-controller",
        DaemonSet,
        lambda view, key: observe(view, key, backoff),
        diff,
        owns=(Pod, ControllerRevision),
        watches=((Pod, matching), (ControllerRevision, matching), (Node, WhenChanged(fitness, everywhere))),
        indexes=((Pod, "orphan", orphaned), (ControllerRevision, "orphan", orphaned)),
        workers=2,
        component="daemon-set-controller",
        source="daemonset-controller",
    )
