"""End pods on nodes with NoExecute taints that they do not tolerate, or do not tolerate any longer.

Reads Pod, Node. Writes Pod (condition DisruptionTarget, deletion). A toleration with seconds holds from the moment when
the pod and the taint met on the node; the shortest of those that apply counts; a taint that goes away in time saves the pod.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kybern.api.core_v1 import Node, Pod, PodCondition, Taint
from kybern.api.tolerations import tolerates
from kybern.loop.controller import Action, Again, Controller, Delete, Emit, Key, PatchStatus, View
from kybern.loop.pods import by_node, condition, with_condition
from kybern.loop.settings import Settings


@dataclass(frozen=True, slots=True)
class State:
    pod: Pod
    taints: tuple[Taint, ...]
    now: datetime


def observe(view: View, key: Key) -> State | None:
    pod = view.get(Pod, *key)
    if pod is None or not pod.spec.node_name or pod.metadata.deletion_timestamp is not None:
        return None
    node = view.get(Node, "", pod.spec.node_name)
    if node is None:
        return None
    taints = tuple(taint for taint in node.spec.taints if taint.effect == "NoExecute")
    return State(pod, taints, view.now) if taints else None


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
    marked = condition(pod, "DisruptionTarget")
    if marked is None or marked.status != "True":
        wanted = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="DeletionByTaintManager",
            message="Taint manager: deleting due to NoExecute taint",
            observed_generation=pod.metadata.generation,
            last_transition_time=state.now.replace(microsecond=0),
        )
        yield PatchStatus(pod, with_condition(pod, wanted))
    message = f"Marking for deletion Pod {pod.metadata.namespace}/{pod.metadata.name}"
    yield Emit(pod, "Normal", "TaintManagerEviction", message)
    yield Delete(pod)


def pods_of(node: Node, view: View) -> Iterable[Key]:
    if any(taint.effect == "NoExecute" for taint in node.spec.taints):
        for pod in view.index(Pod, "node", node.metadata.name):
            yield Key(pod.metadata.namespace, pod.metadata.name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "taint-eviction-controller",
        Pod,
        observe,
        diff,
        watches=((Node, pods_of),),
        indexes=((Pod, "node", by_node),),
        component="node-controller",
        source="taint-eviction-controller",
        workers=8,
    )
