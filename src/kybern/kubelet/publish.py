"""Telling the API server what became of pods, beside the work and never in its way.

What holds: a worker's ``tell`` returns at once; the newest status of a pod is the one that is sent; what could not
be sent is sent again when the API server answers. Only what differs is sent, as a strategic merge patch that names
the pod's uid, so that a pod of the same name that came after is never touched, and conditions of others stay.
"""

import asyncio
import logging
from typing import Any

import msgspec

from kybern.api.core_v1 import Pod, PodStatus
from kybern.client.difference import difference
from kybern.client.verbs import Verbs
from kybern.machinery.errors import ApiError, Conflict, Invalid, NotFound, ServiceUnavailable, Timeout
from kybern.machinery.struct import encode, replace

log = logging.getLogger(__name__)

_RETRY = 2.0
# How many are on their way at the same time; one pod's never twice.
_AT_ONCE = 4
# Lists that the server merges by key: a list that is told must replace what is there.
_REPLACED = ("podIPs", "hostIPs")


def patch_of(uid: str, old: PodStatus, new: PodStatus) -> dict[str, Any] | None:
    """The body that makes ``new`` of ``old``; None when they are the same. Pure."""
    changed = difference(msgspec.json.decode(encode(old)), msgspec.json.decode(encode(new)))
    if not changed:
        return None
    kept = {condition.type for condition in new.conditions}
    gone = [found.type for found in old.conditions if found.type not in kept]
    if gone:
        # The list is merged by type: what is not there any more must be named.
        changed["conditions"] = [
            *(changed.get("conditions") or ()),
            *({"type": name, "$patch": "delete"} for name in gone),
        ]
    for name in _REPLACED:
        if isinstance(changed.get(name), list):
            changed[name] = [{"$patch": "replace"}, *changed[name]]
    return {"metadata": {"uid": uid}, "status": changed}


class Publisher:
    """Sends statuses; ``run`` belongs into the daemon's TaskGroup. Without an API server nothing is told to anybody."""

    def __init__(self, client: Verbs | None) -> None:
        self._client = client
        self._waiting: dict[str, tuple[Pod, PodStatus]] = {}
        self._something = asyncio.Event()
        self._told: dict[str, PodStatus] = {}
        self._sent = asyncio.Condition()

    def tell(self, pod: Pod, status: PodStatus) -> None:
        """Send this when there is time. ``pod`` is the API server's own (for a static pod, its mirror)."""
        uid = pod.metadata.uid
        if self._client is None:
            return
        if uid in self._waiting or status != self._told.get(uid, pod.status):
            self._waiting[uid] = (pod, status)
            self._something.set()

    def last(self, pod: Pod) -> PodStatus:
        """What is known to have been told of a pod, or is about to be."""
        uid = pod.metadata.uid
        return self._waiting[uid][1] if uid in self._waiting else self._told.get(uid, pod.status)

    def forget(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        self._told.pop(uid, None)

    async def flushed(self, uid: str) -> None:
        """Wait until nothing is waiting for this pod."""
        async with self._sent:
            await self._sent.wait_for(lambda: uid not in self._waiting)

    async def delete(self, pod: Pod) -> None:
        """Take exactly this pod out of the API server; nothing of it runs any more."""
        if self._client is not None:
            await self._client.delete(pod, grace_seconds=0)

    async def run(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            well = await asyncio.gather(*(self._sweep(left) for left in [list(self._waiting)] * _AT_ONCE))
            if not all(well):
                await asyncio.sleep(_RETRY)
                self._something.set()

    async def _sweep(self, left: list[str]) -> bool:
        """Send what others that share the list leave; whether all went well."""
        well = True
        while left:
            try:
                well = await self._send(left.pop(0)) and well
            except (ServiceUnavailable, Timeout) as problem:
                log.warning("cannot tell the status of pods: %s", problem)
                left.clear()
                return False
        return well

    async def _send(self, uid: str) -> bool:
        """Send one; False when it is to be tried again. No answer at all is raised: it is of no use to go on then."""
        if uid not in self._waiting:
            return True
        pod, status = self._waiting[uid]
        body = patch_of(uid, self._told.get(uid, pod.status), status)
        try:
            if body is not None and self._client is not None:
                meta = pod.metadata
                await self._client.patch_raw(Pod, meta.namespace, meta.name, body, "strategic", "status")
            self._told[uid] = status
        except (NotFound, Conflict, Invalid) as problem:
            log.info("cannot tell the status of pod %s: %s", uid, problem)
        except (ServiceUnavailable, Timeout):
            raise
        except ApiError as problem:
            log.warning("cannot tell the status of pod %s: %s", uid, problem)
            return False
        if self._waiting.get(uid, (pod, None))[1] == status:
            self._waiting.pop(uid, None)
        else:
            self._something.set()
        async with self._sent:
            self._sent.notify_all()
        return True


def finished(status: PodStatus) -> PodStatus:
    """The status of a pod of which nothing runs any more: one that was not over yet is Failed."""
    return status if status.phase in ("Succeeded", "Failed") else replace(status, phase="Failed")
