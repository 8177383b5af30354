"""Remove pods that no kubelet will ever finish.

Reads Pod, Node. Writes Pod (phase Failed with condition DisruptionTarget, deletion without grace). Three sorts: pods on
a node that has been gone for forty seconds (a kubelet that registers anew meanwhile keeps its pods; and the API server is
asked, not the cache, before anything is done), pods that were deleted before they were placed anywhere, and finished pods
beyond ``--terminated-pod-gc-threshold``, the evicted before the others and the oldest first. Pods on a node that somebody
declared out of service are ended, too. What has not ended is Failed before it is deleted: a pod that a finalizer holds may
be counted only then (a job that waits for the end of its pods).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kybern.api.core_v1 import Node, Pod, PodCondition
from kybern.loop.controller import Action, Again, Controller, Delete, Key, Measure, PatchStatus, View
from kybern.loop.pods import by_node, is_terminal, with_condition
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

# The key that stands for all finished pods together.
FINISHED = Key("", "finished")
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


_ORPHANED, _OUT_OF_SERVICE = "PodGC: node no longer exists", "PodGC: node out-of-service"
_REASONS = {_ORPHANED: "orphaned", _OUT_OF_SERVICE: "out-of-service"}
# Seconds for which a node has to be gone (upstream's quarantineTime).
QUARANTINE = 40.0


@dataclass(frozen=True, slots=True)
class State:
    """Pods to remove, each with the words of its condition; nothing said means that it gets none.

    ``wait``: the seconds after which to look again whether the pod's node is still gone.
    """

    pods: tuple[tuple[Pod, str], ...]
    now: datetime
    wait: float = 0.0


@dataclass(slots=True)
class Observer:
    """Remembers since when nodes are gone that pods name."""

    limit: int
    gone: dict[str, datetime] = field(default_factory=dict)

    def observe(self, view: View, key: Key) -> State | None:
        if key == FINISHED:
            found = surplus(view.index(Pod, "finished", ""), self.limit)
            return State(tuple((pod, "") for pod in found), view.now)
        self._forget(view)
        pod = view.get(Pod, *key)
        if pod is None:
            return None
        if pod.spec.node_name and view.get(Node, "", pod.spec.node_name) is None:
            since = self.gone.setdefault(pod.spec.node_name, view.now)
            left = QUARANTINE - (view.now - since).total_seconds()
            if left > 0:
                return State((), view.now, left)
        reason = _why(view, pod)
        return State(((pod, reason),), view.now) if reason is not None else None

    def pods_of(self, node: Node, view: View) -> Iterable[Key]:
        """The pods of a node that went away, came back or is out of service; one that is well wakes nobody."""
        name = node.metadata.name
        if name in self.gone or view.get(Node, "", name) is None or _out_of_service(node):
            for pod in view.index(Pod, "node", name):
                yield Key(pod.metadata.namespace, pod.metadata.name)

    def _forget(self, view: View) -> None:
        """Nodes that are back, and those that no pod names any more."""
        for name in tuple(self.gone):
            is_back = view.get(Node, "", name) is not None
            if is_back or next(view.index(Pod, "node", name), None) is None:
                del self.gone[name]


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
        return _ORPHANED if gone else None
    if pod.metadata.deletion_timestamp is not None and _out_of_service(node):
        return _OUT_OF_SERVICE
    return None


def _out_of_service(node: Node) -> bool:
    ready = next((one.status for one in node.status.conditions if one.type == "Ready"), "")
    return ready != "True" and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def diff(state: State) -> Iterable[Action]:
    if state.wait:
        yield Again(state.wait)
    for pod, reason in state.pods:
        if not is_terminal(pod):
            yield PatchStatus(pod, _failed(pod, reason, state.now))
        yield Delete(pod, grace_seconds=0)
        labels = pod.metadata.namespace, _REASONS.get(reason) or _unsaid(pod)
        yield Measure("pod_gc_collector_force_delete_pods_total", labels)


def _unsaid(pod: Pod) -> str:
    """Why a pod goes whose condition says nothing: it had ended, or was never placed."""
    never_placed = pod.metadata.deletion_timestamp is not None and not pod.spec.node_name
    return "unscheduled" if never_placed else "terminated"


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


def all_finished(pod: Pod, _view: View) -> Iterable[Key]:
    if is_terminal(pod):
        yield FINISHED


def controller(settings: Settings) -> Controller[State]:
    observer = Observer(settings.terminated_pods)
    return Controller(
        "pod-garbage-collector-controller",
        Pod,
        observer.observe,
        diff,
        watches=((Node, observer.pods_of), (Pod, all_finished)),
        indexes=((Pod, "node", by_node), (Pod, "finished", finished)),
        component="pod-garbage-collector",
        workers=2,
    )
