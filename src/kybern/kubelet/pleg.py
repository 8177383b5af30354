"""Noticing what happens to containers: the runtime's own events, with relisting behind them (upstream's PLEG).

What holds: a worker is woken within moments of a container's start or end where the runtime sends events, and within
``RELIST_EVENTS`` seconds whatever gets lost; without events, a relist every second finds out. A runtime that has not
answered for three minutes makes the node not ready.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from kybern.kubelet import numbers
from kybern.kubelet.cri import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

RELIST_EVENTS = 30.0
RELIST_ALONE = 1.0
_AGAIN = 5.0
_UNHEALTHY = 180.0


class Watcher:
    """``wake`` is told the uid of a pod; ``seen`` gets those the runtime has: uid, namespace, name. ``clock`` is steady."""

    def __init__(
        self,
        runtime: Runtime,
        wake: Callable[[str], None],
        seen: Callable[[str, str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._wake = wake
        self._seen = seen
        self._marks: dict[str, frozenset[tuple[str, int]]] = {}
        self._streaming = False
        self._clock = clock
        self._listed = clock()
        self._begun: float | None = None

    @property
    def problem(self) -> str:
        """Why the node is not ready, if it is not."""
        silent = self._clock() - self._listed
        if silent < _UNHEALTHY:
            return ""
        return f"PLEG is not healthy: pleg was last seen active {_spelled(silent)} ago; threshold is 3m0s"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events())
            tasks.create_task(self._relist())

    async def _events(self) -> None:
        while True:
            try:
                self._streaming = True
                async for uid in self._runtime.events():
                    self._wake(uid)
            except RuntimeFailure as problem:
                if problem.code == "UNIMPLEMENTED":
                    log.info("the runtime sends no events: relisting every %.0f s", RELIST_ALONE)
                    self._streaming = False
                    return
                log.warning("lost the events of the runtime: %s", problem)
            self._streaming = False
            await asyncio.sleep(_AGAIN)

    async def _relist(self) -> None:
        while True:
            try:
                await self.look()
            except RuntimeFailure as problem:
                log.warning("cannot list the runtime's pods: %s", problem)
            await asyncio.sleep(RELIST_EVENTS if self._streaming else RELIST_ALONE)

    async def look(self) -> None:
        """One relist."""
        before, self._begun = self._begun, self._clock()
        found = await self._runtime.all()
        self._listed = self._clock()
        numbers.relisted(self._listed - self._begun, None if before is None else self._begun - before)
        for uid, (mark, namespace, name) in found.items():
            self._seen(uid, namespace, name)
            if self._marks.get(uid) != mark:
                self._wake(uid)
        for uid in self._marks.keys() - found.keys():
            self._wake(uid)
        self._marks = {uid: mark for uid, (mark, _namespace, _name) in found.items()}


def _spelled(seconds: float) -> str:
    """As Go spells a duration: 1h0m5s."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}h{minutes}m{left}s" if hours else f"{minutes}m{left}s"
