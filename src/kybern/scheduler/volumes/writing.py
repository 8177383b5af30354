"""Write a choice of volumes, and wait until the binder and the drivers have done their part.

Reads what the watches bring into the table. Writes PersistentVolume.spec.claimRef and a mark on PersistentVolumeClaims, each
on condition that nobody was faster. Nothing is rolled back when the pod does not get there in the end: a volume that has
found its claim stays with it (as upstream).
"""

import asyncio
from dataclasses import replace

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from kybern.machinery.struct import Object
from kybern.scheduler.framework import Attempt
from kybern.scheduler.handle import Handle
from kybern.scheduler.volumes.assuming import Assumed, Write, standing


async def bind(assumed: Assumed, attempt: Attempt, node: str, handle: Handle, seconds: float) -> str:
    """Why the volumes are not there in the end, "" when they are. Raises ApiError when something could not be written."""
    volumes = [await _written(one, handle) for one in assumed.volumes]
    claims = [await _written(one, handle) for one in assumed.claims]
    why = await _waited(Assumed(tuple(volumes), tuple(claims)), attempt, node, seconds)
    return f"binding volumes: {why}" if why else ""


async def _written[T: (PersistentVolume, PersistentVolumeClaim)](write: Write[T], handle: Handle) -> Write[T]:
    if write.new == write.old:
        return write
    async with handle.binder.parallel:
        told = await handle.client.patch(write.old, write.new)
    return replace(write, version=told.metadata.resource_version)


async def _waited(assumed: Assumed, attempt: Attempt, node: str, seconds: float) -> str:
    table, uid = attempt.table, attempt.facts.uid
    changed = asyncio.Event()
    claims = set(attempt.facts.claims)

    def hear(item: Object | None) -> None:
        meta = getattr(item, "metadata", None)
        if meta is None or isinstance(item, PersistentVolume) or f"{meta.namespace}/{meta.name}" in claims:
            changed.set()

    table.listeners[uid] = hear
    try:
        async with asyncio.timeout(seconds):
            while (why := standing(assumed, uid, node, table)) is None:
                changed.clear()
                await changed.wait()
            return why
    except TimeoutError:
        return "context deadline exceeded"
    finally:
        del table.listeners[uid]
