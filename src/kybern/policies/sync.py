"""Keep the kernel's rules as the policies ask: wait for a change, settle it, send what differs.

Nothing is sent before all lists are in, so that neither a restart of the daemon nor an API server that cannot be reached
takes rules away or makes up new ones.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from kybern.netfilter.programs import CannotApply
from kybern.policies import metrics
from kybern.policies.follow import State
from kybern.policies.model import Model

LOG = logging.getLogger(__name__)
RETRY = 5.0  # seconds until what failed is tried again
PERIOD = 30.0  # seconds between two looks whether others removed our rules
LEAST = 0.1  # seconds from one change to the next: in between they gather


class Writer(Protocol):
    """The part that knows the kernel; see ``kernel.Kernel``."""

    async def apply(self, model: Model | None) -> int: ...

    async def is_intact(self) -> bool: ...

    def forget(self) -> None: ...


@dataclass(slots=True)
class Syncer:
    """The one loop. ``on_first`` is called once the rules are right for the first time.

    ``problem`` is why they are not as they should be now; "" while they are, or nothing was asked yet.
    """

    state: State
    kernel: Writer
    on_first: Callable[[], None]
    done: bool = False
    problem: str = ""
    _last: Model | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            began = loop.time()
            if began - looked >= PERIOD:
                await self._look()
                looked = began
            right = await self._apply()
            rest = LEAST - (loop.time() - began)
            if rest > 0:
                await asyncio.sleep(rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(PERIOD if right else RETRY):
                    await self.state.changed.wait()

    async def _look(self) -> None:
        try:
            if not await self.kernel.is_intact():
                self.kernel.forget()
        except CannotApply as problem:
            LOG.warning("%s", problem)
            self.kernel.forget()

    async def _apply(self) -> bool:
        self.state.changed.clear()
        if not self.state.is_complete:
            return True
        model = self.state.model
        if model is not self._last:
            # What was sent of another model tells nothing of this one.
            self.kernel.forget()
            self._last = model
        try:
            with metrics.SYNC.time():
                if model is not None:
                    model.settle()
                lines = await self.kernel.apply(model)
        except CannotApply as problem:
            metrics.FAILURES.inc()
            self.problem = str(problem)
            LOG.error("%s; trying again in %.0f s", problem, RETRY)  # noqa: TRY400  # the message says it all
            return False
        metrics.LINES.inc(lines)
        metrics.LAST.set_to_current_time()
        self.problem = ""
        LOG.debug("sent %d lines to nft", lines)
        if not self.done:
            self.done = True
            self.on_first()
        return True
