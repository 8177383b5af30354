"""Memory that a daemon does not need any more, given back to the system.

The C library keeps what was freed in the middle of its heap, so a daemon that was busy once would stay as large as it was
then. malloc_trim(3) gives whole pages back; with 20 MiB it takes some milliseconds.
"""

import asyncio
import ctypes
from collections.abc import Callable

EVERY = 60.0  # seconds


def trim() -> Callable[[], object] | None:
    """What gives pages back. None where the C library knows no way, as musl."""
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if found is None else lambda: found(0)


async def given_back(every: float = EVERY, act: Callable[[], object] | None = None) -> None:
    """For ever, and at once where there is no way; belongs into a daemon's TaskGroup."""
    act = act or trim()
    while act is not None:
        await asyncio.sleep(every)
        act()
