"""Noticing what happens to containers: the runtime's own events, with relisting behind them (upstream's PLEG).

What holds: a worker is woken within moments of a container's start or end where the runtime sends events, and within
``RELIST_EVENTS`` seconds whatever gets lost; without events, a relist every second finds out. A runtime that has not
answered for three minutes makes the node not ready.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from kybern.kubelet.cri import Runtime, RuntimeFailure

log = logging.getLogger(__name__)

RELIST_EVENTS = 30.0
RELIST_ALONE = 1.0
_AGAIN = 5.0
_UNHEALTHY = 180.0


class Watcher:
    """``wake`` is told the uid of a pod; ``unknown`` gets those the runtime has: uid, namespace, name."""

    def __init__(
        self, runtime: Runtime, wake: Callable[[str], None], seen: Callable[[str, str, str], None]
    ) -> None:
        self._runtime = runtime
        self._wake = wake
        self._seen = seen
        self._marks: dict[str, frozenset[tuple[str, int]]] = {}
        self._streaming = False
        self._listed = time.monotonic()

    @property
    def problem(self) -> str:
        """Why the node is not ready, if it is not."""
        silent = time.monotonic() - self._listed
        if silent < _UNHEALTHY:
            return ""
        return f"PLEG is not healthy: pleg was last seen active {silent:.0f}s ago; threshold is 3m0s"

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
        found = await self._runtime.all()
        self._listed = time.monotonic()
        for uid, (mark, namespace, name) in found.items():
            self._seen(uid, namespace, name)
            if self._marks.get(uid) != mark:
                self._wake(uid)
        for uid in self._marks.keys() - found.keys():
            self._wake(uid)
        self._marks = {uid: mark for uid, (mark, _namespace, _name) in found.items()}
