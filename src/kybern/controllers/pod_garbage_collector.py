"""Remove pods that no kubelet will ever finish.

Reads Pod, Node. Writes Pod (phase Failed with condition DisruptionTarget, deletion without grace). Three sorts: pods on
a node that is gone (asked of the API server, not of the cache, before anything is done), pods that were deleted before
they were placed anywhere, and finished pods beyond ``--terminated-pod-gc-threshold``, the evicted before the others and the
oldest first. Pods on a node that somebody declared out of service are ended, too. What has not ended is Failed before it is
deleted: a pod that a finalizer holds may be counted only then (a job that waits for the end of its pods).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kybern.api.core_v1 import Node, Pod, PodCondition
from kybern.loop.controller import Action, Controller, Delete, Key, PatchStatus, View
from kybern.loop.pods import by_node, is_terminal, with_condition
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

# The key that stands for all finished pods together.
FINISHED = Key("", "finished")
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


@dataclass(frozen=True, slots=True)
class State:
    """Pods to remove, each with the words of its condition; nothing said means that it gets none."""

    pods: tuple[tuple[Pod, str], ...]
    now: datetime


def observing(limit: int) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        if key == FINISHED:
            return State(
                tuple((pod, "") for pod in surplus(view.index(Pod, "finished", ""), limit)), view.now
            )
        pod = view.get(Pod, *key)
        reason = _why(view, pod) if pod is not None else None
        return State(((pod, reason),), view.now) if pod is not None and reason is not None else None

    return observe


def surplus(pods: Iterable[Pod], limit: int) -> tuple[Pod, ...]:
    """The finished pods that are too many: evicted ones, which nobody counts, then the oldest."""
    if limit <= 0:
        return ()
    first = datetime.min.replace(tzinfo=UTC)
    found = sorted(
        pods, key=lambda pod: (not _evicted(pod), pod.metadata.creation_timestamp or first, pod.metadata.name)
    )
    return tuple(found[: max(len(found) - limit, 0)])


def _evicted(pod: Pod) -> bool:
    return pod.status.phase == "Failed" and pod.status.reason == "Evicted"


def _why(view: View, pod: Pod) -> str | None:
    if not pod.spec.node_name:
        return "" if pod.metadata.deletion_timestamp is not None else None
    node = view.get(Node, "", pod.spec.node_name)
    if node is None:
        gone = view.live(Node, "", pod.spec.node_name) is None
        return "PodGC: node no longer exists" if gone else None
    if pod.metadata.deletion_timestamp is not None and _out_of_service(node):
        return "PodGC: node out-of-service"
    return None


def _out_of_service(node: Node) -> bool:
    ready = next((one.status for one in node.status.conditions if one.type == "Ready"), "")
    return ready != "True" and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def diff(state: State) -> Iterable[Action]:
    for pod, reason in state.pods:
        if not is_terminal(pod):
            yield PatchStatus(pod, _failed(pod, reason, state.now))
        yield Delete(pod, grace_seconds=0)


def _failed(pod: Pod, message: str, now: datetime) -> Pod:
    """The pod as one that failed; disrupted when ``message`` says by what."""
    failed = replace(pod, status=replace(pod.status, phase="Failed"))
    if not message:
        return failed
    wanted = PodCondition(
        type="DisruptionTarget",
        status="True",
        reason="DeletionByPodGC",
        message=message,
        observed_generation=pod.metadata.generation,
        last_transition_time=now.replace(microsecond=0),
    )
    return with_condition(failed, wanted)


def finished(pod: Pod) -> Iterable[str]:
    """Index: pods that ran to their end."""
    if is_terminal(pod):
        yield ""


def pods_of(node: Node, view: View) -> Iterable[Key]:
    """The pods of a node that went away or out of service; a node that is well wakes nobody."""
    if view.get(Node, "", node.metadata.name) is None or _out_of_service(node):
        for pod in view.index(Pod, "node", node.metadata.name):
            yield Key(pod.metadata.namespace, pod.metadata.name)


def all_finished(pod: Pod, _view: View) -> Iterable[Key]:
    if is_terminal(pod):
        yield FINISHED


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "pod-garbage-collector-controller",
        Pod,
        observing(settings.terminated_pods),
        diff,
        watches=((Node, pods_of), (Pod, all_finished)),
        indexes=((Pod, "node", by_node), (Pod, "finished", finished)),
        component="pod-garbage-collector",
        workers=2,
    )
