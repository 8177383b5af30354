"""Telling the API server what became of pods, beside the work and never in its way.

What holds: a worker's ``tell`` returns at once; the newest status of a pod is the one that is sent; what could not
be sent is sent again when the API server answers, and what somebody else wrote over is put right: a node that was cut
off finds its pods called unready. Only what differs is sent, as a strategic merge patch that names
the pod's uid, so that a pod of the same name that came after is never touched, and conditions of others stay.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from kybern.api.core_v1 import Pod, PodStatus
from kybern.client.difference import difference
from kybern.client.verbs import Verbs
from kybern.kubelet.status import OURS
from kybern.machinery.errors import ApiError, Conflict, Invalid, NotFound, ServiceUnavailable, Timeout
from kybern.machinery.kind import Raw
from kybern.machinery.struct import encode, replace

log = logging.getLogger(__name__)

_RETRY = 2.0
# How many are on their way at the same time; one pod's never twice.
_AT_ONCE = 4
# Lists that the server merges by key: a list that is told must replace what is there.
_REPLACED = ("podIPs", "hostIPs")


def patch_of(uid: str, old: PodStatus, new: PodStatus) -> dict[str, Any] | None:
    """The body that makes ``new`` of ``old``; None when they are the same. Pure."""
    before, after = msgspec.json.decode(encode(old)), msgspec.json.decode(encode(new))
    conditions = _conditions(before.pop("conditions", ()), after.pop("conditions", ()))
    changed = difference(before, after)
    if conditions:
        changed["conditions"] = conditions
    if not changed:
        return None
    for name in _REPLACED:
        if isinstance(changed.get(name), list):
            changed[name] = [{"$patch": "replace"}, *changed[name]]
    return {"metadata": {"uid": uid}, "status": changed}


def _conditions(old: Iterable[Raw], new: Iterable[Raw]) -> list[Raw]:
    """What differs. The server merges them by type, each field by itself: a field that is gone must be named.

    So must a condition that is gone. Those of others stay: here is only known what they were.
    """
    before, after = ({found["type"]: found for found in each} for each in (old, new))
    found = [
        {"type": name, **changed}
        for name, it in after.items()
        if (changed := difference(before.get(name, {}), it))
    ]
    gone = [name for name in before if name in OURS and name not in after]
    return [*found, *({"type": name, "$patch": "delete"} for name in gone)]


class Publisher:
    """Sends statuses; ``run`` belongs into the daemon's TaskGroup. Without an API server nothing is told to anybody."""

    def __init__(self, client: Verbs | None) -> None:
        self._client = client
        self._waiting: dict[str, tuple[Pod, PodStatus]] = {}
        self._something = asyncio.Event()
        # With the resource version that came of it.
        self._told: dict[str, tuple[int, PodStatus]] = {}
        self._sent = asyncio.Condition()
        # Whether nobody answered the last time: an outage is told when it begins and when it ends.
        self._silent = False

    def tell(self, pod: Pod, status: PodStatus) -> None:
        """Send this when there is time. ``pod`` is the API server's own (for a static pod, its mirror)."""
        uid = pod.metadata.uid
        if self._client is None:
            return
        if uid in self._waiting or status != self._known(pod):
            self._waiting[uid] = (pod, status)
            self._something.set()

    def overwritten(self, pod: Pod) -> bool:
        """Whether the API server has another status of this pod than it was told, and a newer one."""
        uid = pod.metadata.uid
        if uid in self._waiting or uid not in self._told:
            return False
        version, told = self._told[uid]
        return _version(pod) > version and patch_of(uid, pod.status, told) is not None

    def _known(self, pod: Pod) -> PodStatus:
        """What the API server has, as far as this side knows: what it was told, or what it said since."""
        version, told = self._told.get(pod.metadata.uid, (-1, pod.status))
        return pod.status if _version(pod) > version else told

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
                if not self._silent:
                    log.warning("cannot tell the status of pods, trying every %.0f s: %s", _RETRY, problem)
                self._silent = True
                left.clear()
                return False
        return well

    async def _send(self, uid: str) -> bool:
        """Send one; False when it is to be tried again. No answer at all is raised: it is of no use to go on then."""
        if uid not in self._waiting:
            return True
        pod, status = self._waiting[uid]
        body = patch_of(uid, self._known(pod), status)
        try:
            if body is not None and self._client is not None:
                meta = pod.metadata
                pod = await self._client.patch_raw(
                    Pod, meta.namespace, meta.name, body, "strategic", "status"
                )
            before, _ = self._told.get(uid, (0, status))
            self._told[uid] = (max(before, _version(pod)), status)
        except (NotFound, Conflict, Invalid) as problem:
            log.info("cannot tell the status of pod %s: %s", uid, problem)
        except (ServiceUnavailable, Timeout):
            raise
        except ApiError as problem:
            log.warning("cannot tell the status of pod %s: %s", uid, problem)
            return False
        if self._silent:
            self._silent = False
            log.info("the status of pods is told again")
        if self._waiting.get(uid, (pod, None))[1] == status:
            self._waiting.pop(uid, None)
        else:
            self._something.set()
        async with self._sent:
            self._sent.notify_all()
        return True


def _version(pod: Pod) -> int:
    """Resource versions are numbers that grow (KEP-5504)."""
    return int(pod.metadata.resource_version or 0)


def finished(status: PodStatus) -> PodStatus:
    """The status of a pod of which nothing runs any more: one that was not over yet is Failed."""
    return status if status.phase in ("Succeeded", "Failed") else replace(status, phase="Failed")
