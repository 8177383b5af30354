"""Tell the API server what was decided: a binding, or why there is none."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from kybern.api.core_v1 import Pod
from kybern.client.events import Recorder
from kybern.client.verbs import Verbs
from kybern.machinery.errors import ApiError, NotFound

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Binder:
    """Writes for the scheduling loop. ``parallel`` bounds the requests under way."""

    client: Verbs
    recorder: Recorder
    parallel: asyncio.Semaphore

    async def bind(self, pod: Pod, node: str) -> bool:
        """Bind a pod to a node; False when the API server did not take it."""
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
                await self.client.request("POST", path, body)
        except ApiError as problem:
            LOG.warning("cannot bind pod %s/%s to node %s: %s", meta.namespace, meta.name, node, problem)
            return False
        name = f"{meta.namespace}/{meta.name}"
        self.recorder.emit(pod, "Normal", "Scheduled", f"Successfully assigned {name} to {node}")
        return True

    async def refuse(self, pod: Pod, message: str) -> None:
        """Say in the pod's condition and in an event why nobody takes it; nothing when that is already said."""
        self.recorder.emit(pod, "Warning", "FailedScheduling", message)
        known = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
        if known and (known.status, known.reason, known.message) == ("False", "Unschedulable", message):
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if pod.metadata.generation:
            condition["observedGeneration"] = pod.metadata.generation  # type: ignore[assignment]  # a number
        if known is None or known.status != "False":
            condition["lastTransitionTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        meta = pod.metadata
        body = {"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}}
        try:
            async with self.parallel:
                await self.client.patch_raw(Pod, meta.namespace, meta.name, body, "strategic", "status")
        except NotFound:
            LOG.debug("pod %s/%s is gone", meta.namespace, meta.name)
        except ApiError as problem:
            LOG.warning("cannot update the condition of pod %s/%s: %s", meta.namespace, meta.name, problem)
