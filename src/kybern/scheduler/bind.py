"""Tell the API server what was decided: a binding, or why there is none."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

from kybern.api.core_v1 import Pod
from kybern.client.events import Recorder
from kybern.client.verbs import Verbs
from kybern.machinery.errors import ApiError, NotFound
from kybern.scheduler.metrics import CALLS, UNDER_WAY
from kybern.scheduler.preemption import REASON

LOG = logging.getLogger(__name__)

# Reasons of the condition PodScheduled: nobody takes the pod, or the attempt failed for another reason.
UNSCHEDULABLE, ERROR = "Unschedulable", "SchedulerError"


class _called:  # noqa: N801  # reads as a function; a generator would cost more than what it measures
    """Count and time a request."""

    __slots__ = ("_began", "_kind")

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        UNDER_WAY[self._kind] += 1
        self._began = perf_counter()

    def __exit__(self, problem: object, *_: object) -> None:
        UNDER_WAY[self._kind] -= 1
        CALLS.of(self._kind, "error" if problem else "success").observe(perf_counter() - self._began)


@dataclass(frozen=True, slots=True)
class Binder:
    """Writes for the scheduling loop. ``parallel`` bounds the requests under way; ``clock`` gives the time of conditions."""

    client: Verbs
    recorder: Recorder
    parallel: asyncio.Semaphore
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def caught_up(self) -> None:
        """Until every request of before is on its way."""
        async with self.parallel:
            return

    async def bind(self, pod: Pod, node: str) -> str:
        """Bind a pod to a node; why the API server did not take it, or ""."""
        meta = pod.metadata
        path = f"/api/v1/namespaces/{meta.namespace}/pods/{meta.name}/binding"
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            async with self.parallel:
                with _called("pod_binding"):
                    await self.client.request("POST", path, body)
        except ApiError as problem:
            LOG.warning("cannot bind pod %s/%s to node %s: %s", meta.namespace, meta.name, node, problem)
            return str(problem)
        return ""

    def assigned(self, pod: Pod, node: str) -> None:
        """Say in an event that a pod has been bound, by whomever."""
        name = f"{pod.metadata.namespace}/{pod.metadata.name}"
        self.recorder.emit(pod, "Normal", "Scheduled", f"Successfully assigned {name} to {node}")

    async def refuse(self, pod: Pod, message: str, promised: str = "", reason: str = UNSCHEDULABLE) -> None:
        """Say in the pod's condition and in an event why nobody takes it; nothing when that is already said.

        ``promised`` is the node that others leave for it (status.nominatedNodeName).
        """
        self.recorder.emit(pod, "Warning", "FailedScheduling", message)
        known = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
        said = known and (known.status, known.reason, known.message) == ("False", reason, message)
        if said and promised == pod.status.nominated_node_name:
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        if pod.metadata.generation:
            condition["observedGeneration"] = pod.metadata.generation  # type: ignore[assignment]  # a number
        if known is None or known.status != "False":
            condition["lastTransitionTime"] = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        status: dict[str, object] = {"conditions": [condition]}
        if promised != pod.status.nominated_node_name:
            status["nominatedNodeName"] = promised or None
        await self._say(pod, status)

    async def _say(self, pod: Pod, status: dict[str, object]) -> None:
        meta = pod.metadata
        body = {"metadata": {"uid": meta.uid}, "status": status}
        try:
            async with self.parallel:
                with _called("pod_status_patch"):
                    await self.client.patch_raw(Pod, meta.namespace, meta.name, body, "strategic", "status")
        except NotFound:
            LOG.debug("pod %s/%s is gone", meta.namespace, meta.name)
        except ApiError as problem:
            LOG.warning("cannot update the condition of pod %s/%s: %s", meta.namespace, meta.name, problem)

    async def evict(self, victim: Pod, by: Pod) -> bool:
        """Make a pod leave for another one: say so on it, then delete it with its own grace. False when it stays."""
        meta = victim.metadata
        told = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": REASON,
            "message": f"{by.spec.scheduler_name}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": self.clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        await self._say(victim, {"conditions": [told]})
        try:
            async with self.parallel:
                await self.client.delete(victim)
        except NotFound:
            return False
        except ApiError as problem:
            LOG.warning("cannot delete pod %s/%s: %s", meta.namespace, meta.name, problem)
            return False
        said = f"Preempted by pod {by.metadata.uid} on node {victim.spec.node_name}"
        self.recorder.emit(victim, "Normal", "Preempted", said)
        return True

    async def expect(self, pod: Pod, node: str) -> None:
        """Tell others (who makes nodes, say) where a pod will go, when its binding has to wait for something."""
        if pod.status.nominated_node_name != node:
            await self._say(pod, {"nominatedNodeName": node})

    async def unpromise(self, pod: Pod) -> None:
        """The node that a pod was promised is another one's now."""
        await self._say(pod, {"nominatedNodeName": None})
