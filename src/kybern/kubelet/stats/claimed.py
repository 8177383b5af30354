"""What is used of persistent volumes: asked of their drivers, or of the file system.

What holds: volumes are measured apart from everything else, at most once in ``fresh`` seconds, each with a time limit, so
that a driver or a server that hangs delays nobody who asks; what is known of a volume goes when its pod does.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kybern.kubelet.aside import Aside
from kybern.kubelet.stats import trees
from kybern.kubelet.stats.use import VolumeUse
from kybern.kubelet.volumes.kept import Claimed, Kept
from kybern.kubelet.volumes.plugin import CannotMount

log = logging.getLogger(__name__)

_PATIENCE = 10.0
_SOONEST = 1.0
_BYTES, _FILES = 1, 2


class ClaimedVolumes:
    """``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, kept: Kept, fresh: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady."""
        self._clock = clock
        self._at: dict[tuple[str, str], float] = {}
        self._aside = Aside()
        self._kept = kept
        self._fresh = fresh
        self._found: dict[tuple[str, str], VolumeUse] = {}

    def of(self, uid: str) -> Mapping[str, VolumeUse]:
        """Of a pod, by the volume's name in it; those of which something is known."""
        return {name: use for (owner, name), use in self._found.items() if owner == uid and use.known}

    def by_claim(self) -> Iterator[tuple[tuple[str, str], VolumeUse]]:
        """By namespace and name of the claim."""
        claims = {}
        for (uid, name), use in self._found.items():
            one = self._kept.claimed.get(uid, {}).get(name)
            if one is not None:
                claims[one.site.pod.metadata.namespace, one.claim] = use
        yield from claims.items()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            # New volumes are not kept waiting for the next round of all.
            await asyncio.sleep(_SOONEST)

    async def look(self) -> None:
        """Measure those whose time has come."""
        there = {(uid, name): one for uid, each in self._kept.claimed.items() for name, one in each.items()}
        self._found = {key: use for key, use in self._found.items() if key in there}
        self._at = {key: at for key, at in self._at.items() if key in there}
        for key, one in there.items():
            now = self._clock()
            if key not in self._at or now - self._at[key] >= self._fresh:
                self._at[key] = now
                self._found[key] = await self._measured(one)

    async def _measured(self, one: Claimed) -> VolumeUse:
        """What cannot be measured is tried again in its time, too."""
        now = time.time()
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._asked(one, now)
        except (CannotMount, OSError, TimeoutError) as problem:
            log.debug("cannot measure the volume at %s: %s", one.path, problem)
        return VolumeUse(now)

    async def _asked(self, one: Claimed, now: float) -> VolumeUse:
        persistent, drivers = one.site.persistent, one.site.drivers
        assert persistent is not None
        if persistent.spec.csi is not None:
            answer = await drivers.statistics(persistent, one.path) if drivers is not None else None
            return said(answer, now) if answer is not None else VolumeUse(now)
        if persistent.spec.host_path is not None:
            # A directory of the node's own disk: what else is on it says nothing of the volume.
            return VolumeUse(now)
        if persistent.spec.volume_mode == "Block":
            return VolumeUse(now, await self._aside.ask(one.path, lambda: _size(one.path), _PATIENCE))
        found = await self._aside.ask(one.path, lambda: trees.file_system(one.path), _PATIENCE)
        return VolumeUse(
            now, found.capacity, found.available, found.used,
            found.inodes, found.inodes_free, found.inodes - found.inodes_free,
        )  # fmt: skip


def _size(device: Path) -> int:
    """Of a block device, in bytes. Blocking; raises OSError."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def said(answer: Any, now: float) -> VolumeUse:
    """Of a driver's NodeGetVolumeStatsResponse. Pure."""
    by_unit = {one.unit: one for one in answer.usage}
    size, files = by_unit.get(_BYTES), by_unit.get(_FILES)
    return VolumeUse(
        now,
        *((size.total, size.available, size.used) if size is not None else (None, None, None)),
        *((files.total, files.available, files.used) if files is not None else (None, None, None)),
    )
