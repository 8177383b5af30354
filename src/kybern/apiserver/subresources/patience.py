"""Trying again what somebody else's write came before: twenty times, half a second apart, as upstream's evictions do."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from kybern.machinery.errors import Conflict

_TRIES = 20
_PAUSE = 0.5


async def persistent[T](attempt: Callable[[], Awaitable[T]], *, once: bool = False) -> T:
    """What comes of the first attempt that does not raise Conflict; the last one's Conflict is raised."""
    for _ in range(0 if once else _TRIES - 1):
        try:
            return await attempt()
        except Conflict:
            # Up to a tenth more, so that those who collided once do not do so again.
            await asyncio.sleep(_PAUSE * (1 + random.random() / 10))  # noqa: S311  # spreads, keeps no secret
    return await attempt()
