"""End pods on nodes with NoExecute taints that they do not tolerate, or do not tolerate any longer.

Reads Pod, Node. Writes Pod (condition DisruptionTarget, deletion). A toleration with seconds holds from the moment when
the pod and the taint met on the node; the shortest of those that apply counts; a taint that goes away in time saves the pod.
Nodes are often tainted without a time (``kubectl taint`` writes none): such a taint counts from when it was seen first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from kybern.api.core_v1 import Node, Pod, Taint
from kybern.api.tolerations import tolerates
from kybern.loop.controller import Action, Again, Controller, Delete, Emit, Key, Measure, PatchStatus, View
from kybern.loop.pods import by_node, condition, disrupted
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace


@dataclass(frozen=True, slots=True)
class State:
    pod: Pod
    taints: tuple[Taint, ...]
    now: datetime


@dataclass(slots=True)
class Seen:
    """Since when a pod's node has had taints that do not say so themselves."""

    # By pod: its uid, and the time by the taint's key and value.
    _since: dict[Key, tuple[str, dict[tuple[str, str], datetime]]] = field(default_factory=dict)

    def dated(self, key: Key, pod: Pod, taints: Iterable[Taint], now: datetime) -> tuple[Taint, ...]:
        """The taints with their times. Those that went are forgotten, and count anew when they come back."""
        uid, old = self._since.get(key, ("", {}))
        known = old if uid == pod.metadata.uid else {}
        found = [
            taint
            if taint.time_added is not None
            else replace(taint, time_added=known.get((taint.key, taint.value), now))
            for taint in taints
        ]
        times = {(taint.key, taint.value): taint.time_added or now for taint in found}
        self._since[key] = pod.metadata.uid, times
        return tuple(found)

    def knows(self, key: Key) -> bool:
        return key in self._since

    def forget(self, key: Key) -> None:
        self._since.pop(key, None)


def observe(view: View, key: Key, seen: Seen) -> State | None:
    taints = _taints(view, key)
    pod = view.get(Pod, *key)
    if pod is None or not taints:
        seen.forget(key)
        return None
    return State(pod, seen.dated(key, pod, taints, view.now), view.now)


def _taints(view: View, key: Key) -> tuple[Taint, ...]:
    """Those that end pods, of the node that a pod is on and is not leaving already."""
    pod = view.get(Pod, *key)
    if pod is None or not pod.spec.node_name or pod.metadata.deletion_timestamp is not None:
        return ()
    node = view.get(Node, "", pod.spec.node_name)
    taints = node.spec.taints if node is not None else ()
    return tuple(taint for taint in taints if taint.effect == "NoExecute")


def remaining(state: State) -> float | None:
    """Seconds that the pod may stay; 0 is none, None is for ever."""
    left: list[float] = []
    for taint in state.taints:
        found = [one for one in state.pod.spec.tolerations if tolerates(one, taint)]
        if not found:
            return 0.0
        limits = [one.toleration_seconds for one in found if one.toleration_seconds is not None]
        if limits:
            since = (state.now - max(taint.time_added or state.now, _placed(state))).total_seconds()
            left.append(max(min(limits) - since, 0.0))
    return min(left, default=None)


def _placed(state: State) -> datetime:
    """Since when the pod is on its node."""
    found = condition(state.pod, "PodScheduled")
    when = found.last_transition_time if found is not None else None
    return when or state.pod.metadata.creation_timestamp or state.now


def diff(state: State) -> Iterable[Action]:
    pod, left = state.pod, remaining(state)
    if left is None:
        return
    if left > 0:
        yield Again(left + 0.05)
        return
    marked = disrupted(
        pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", state.now
    )
    if marked is not pod:
        yield PatchStatus(pod, marked)
    message = f"Marking for deletion Pod {pod.metadata.namespace}/{pod.metadata.name}"
    yield Emit(pod, "Normal", "TaintManagerEviction", message)
    yield Delete(pod)
    yield Measure("taint_eviction_controller_pod_deletions_total")


def pods_of(node: Node, view: View, seen: Seen) -> Iterable[Key]:
    """The pods of a node that is tainted, and of one that was: their time is over."""
    tainted = any(taint.effect == "NoExecute" for taint in node.spec.taints)
    for pod in view.index(Pod, "node", node.metadata.name):
        key = Key(pod.metadata.namespace, pod.metadata.name)
        if tainted or seen.knows(key):
            yield key


def controller(_settings: Settings) -> Controller[State]:
    seen = Seen()
    return Controller(
        "taint-eviction-controller",
        Pod,
        lambda view, key: observe(view, key, seen),
        diff,
        watches=((Node, lambda node, view: pods_of(node, view, seen)),),
        indexes=((Pod, "node", by_node),),
        component="node-controller",
        source="taint-eviction-controller",
        workers=8,
    )
