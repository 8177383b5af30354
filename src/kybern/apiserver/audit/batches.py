"""Events that are kept for a while and sent together (the modes "batch"). Those that find no room are counted and lost."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from kybern.apiserver import metrics

log = logging.getLogger(__name__)

type Send = Callable[[Sequence[bytes]], Awaitable[None]]
"""Sends lines; raises OSError for those that cannot be sent now."""

TRIES = 5


@dataclass(slots=True)
class Batches:
    """``size`` events at most are sent together, after ``wait`` seconds at the latest; ``room`` is for how many."""

    name: str
    send: Send
    room: int
    size: int
    wait: float
    backoff: float = 10.0
    _waiting: deque[bytes] = field(default_factory=deque)
    _full: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, line: bytes) -> bool:
        if len(self._waiting) >= self.room:
            metrics.audit_errors.labels(self.name).inc()
            return False
        self._waiting.append(line)
        if len(self._waiting) >= self.size:
            self._full.set()
        return True

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self._go_on(), name=f"audit {self.name}")

    async def _go_on(self) -> None:
        """Until cancelled; what waits then is sent by ``close``."""
        while True:
            try:
                async with asyncio.timeout(self.wait):
                    await self._full.wait()
            except TimeoutError:
                pass
            self._full.clear()
            while self._waiting:
                await self._sent(TRIES)

    async def close(self) -> None:
        """Send what is there, once."""
        while self._waiting:
            await self._sent(1)

    async def _sent(self, tries: int) -> None:
        lines = [self._waiting.popleft() for _ in range(min(self.size, len(self._waiting)))]
        delay = self.backoff
        for left in reversed(range(tries)):
            try:
                await self.send(lines)
            except OSError as problem:
                if left:
                    await asyncio.sleep(delay)
                    delay *= 1.5
                    continue
                metrics.audit_errors.labels(self.name).inc(len(lines))
                log.warning("cannot send %d audit events to the %s: %s", len(lines), self.name, problem)
            return
