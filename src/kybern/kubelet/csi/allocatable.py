"""How many volumes of a driver the node takes, looked at again while it runs (KEP-4876).

A driver is asked as often as its CSIDriver says (nodeAllocatableUpdatePeriodSeconds), and at once when a volume could not be
attached because the node was full; what it says goes into CSINode, by which the scheduler places pods.
"""

import asyncio
import logging
from collections.abc import Callable

from kybern.api.storage_v1 import CSIDriver, CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources
from kybern.client.verbs import Verbs
from kybern.kubelet.csi.mounter import Mounter
from kybern.kubelet.volumes.plugin import CannotMount
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.struct import replace

log = logging.getLogger(__name__)

_EVERY = 1.0
# How long what a CSIDriver says is believed: it seldom changes.
_BELIEVED = 60.0


def due(now: float, last: float, period: int | None, *, full: bool) -> bool:
    """Whether a driver is to be asked. ``period`` in seconds; None: only when the node was full. Pure."""
    return period is not None and (full or now - last >= period)


def with_count(drivers: tuple[CSINodeDriver, ...], name: str, most: int) -> tuple[CSINodeDriver, ...]:
    """The drivers of a CSINode with another number for one of them; 0 is any number. Pure."""
    resources = VolumeNodeResources(count=most) if most > 0 else None
    return tuple(replace(one, allocatable=resources) if one.name == name else one for one in drivers)


class Allocatable:
    """``run`` belongs into the daemon's TaskGroup; ``node`` is the node's name."""

    def __init__(self, client: Verbs, node: str, mounter: Mounter, clock: Callable[[], float]) -> None:
        self._client = client
        self._node = node
        self._mounter = mounter
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._periods: dict[str, tuple[float, int | None]] = {}

    async def run(self) -> None:
        while True:
            for name in list(self._mounter.drivers):
                try:
                    await self.look(name)
                except (ApiError, CannotMount) as problem:
                    log.warning("cannot find out how many volumes of %s the node takes: %s", name, problem)
            await asyncio.sleep(_EVERY)

    async def look(self, name: str) -> None:
        """Ask one driver, if it is time to; raises ApiError or CannotMount."""
        now = self._clock()
        # It was asked when it made itself known.
        last = self._asked.setdefault(name, now)
        full = name in self._mounter.full
        if not due(now, last, await self._period(name, now), full=full):
            return
        self._asked[name] = now
        self._mounter.full.discard(name)
        info = await self._mounter.drivers[name].info()
        before = await self._client.get(CSINode, self._node)
        drivers = with_count(before.spec.drivers, name, info.most)
        if drivers != before.spec.drivers:
            await self._client.patch(before, replace(before, spec=CSINodeSpec(drivers=drivers)))

    async def _period(self, name: str, now: float) -> int | None:
        believed, period = self._periods.get(name, (-_BELIEVED, None))
        if now - believed >= _BELIEVED:
            try:
                period = (await self._client.get(CSIDriver, name)).spec.node_allocatable_update_period_seconds
            except NotFound:
                period = None
            self._periods[name] = now, period
        return period
