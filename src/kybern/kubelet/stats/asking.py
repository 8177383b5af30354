"""Asking the runtime what pods use: all at once, and each by itself when that fails.

containerd answers for all or for none: one sandbox that is ending makes it fail. Then each is asked alone, and of one that
does not answer, what it said last counts until it is gone, so that what is told of the node is whole.
"""

import asyncio
import logging
from typing import Any

from kybern._proto import cri_pb2 as pb
from kybern.kubelet.cri import Runtime, RuntimeFailure

log = logging.getLogger(__name__)


class Asking:
    """Remembers the last answer of each sandbox, by its id."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last: dict[str, Any] = {}

    async def all(self) -> list[Any]:
        """PodSandboxStats of every sandbox that is ready; raises RuntimeFailure when nothing answers."""
        try:
            answer = await self._runtime.call("ListPodSandboxStats", pb.ListPodSandboxStatsRequest())
        except RuntimeFailure as problem:
            log.info("asking each pod for its use: %s", problem)
            found = await self._each()
        else:
            found = list(answer.stats)
        self._last = {one.attributes.id: one for one in found}
        return found

    async def _each(self) -> list[Any]:
        ready = pb.PodSandboxStateValue(state=pb.SANDBOX_READY)
        wanted = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(state=ready))
        listed = await self._runtime.call("ListPodSandbox", wanted)
        answers = await asyncio.gather(*(self._one(item.id) for item in listed.items))
        return [one for one in answers if one is not None]

    async def _one(self, identity: str) -> Any:
        try:
            request = pb.PodSandboxStatsRequest(pod_sandbox_id=identity)
            return (await self._runtime.call("PodSandboxStats", request)).stats
        except RuntimeFailure as problem:
            log.info("the use of sandbox %s is what it was: %s", identity, problem)
            return self._last.get(identity)
