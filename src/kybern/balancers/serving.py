"""Whether this node leads anybody to a pod: its kube-proxy says at /healthz that the rules are in the kernel.

A machine that has just booted has none, and must not take an address back before. A kube-proxy that starts anew has left
its rules where they are, so it may be silent for a while: an address that moves breaks connections. For the same reason
this only ranks nodes: where no kube-proxy is well, addresses stay announced (``kybern.balancers.elect``).
"""

import asyncio
import logging
from dataclasses import dataclass

import aiohttp

log = logging.getLogger(__name__)

GRACE = 30.0  # seconds; a kube-proxy that is not well for longer no longer follows what changes
_NEXT, _AGAIN = 5.0, 1.0  # seconds until it is asked again: after it was well, and when it was not
_PATIENCE = aiohttp.ClientTimeout(total=2)


@dataclass(slots=True)
class Serving:
    """``well`` is when kube-proxy was so last, by the clock of the loop; None before the first time."""

    well: float | None = None

    def holds(self, now: float) -> bool:
        return self.well is not None and now - self.well < GRACE


def always(_now: float) -> bool:
    """Where nobody says which kube-proxy to ask."""
    return True


async def follow(url: str, serving: Serving) -> None:
    """Ask for ever."""
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        while True:
            if found := await _problem(session, url):
                log.debug("kube-proxy is not well: %s: %s", url, found)
            else:
                serving.well = loop.time()
            await asyncio.sleep(_AGAIN if found else _NEXT)


async def _problem(session: aiohttp.ClientSession, url: str) -> str:
    """Why kube-proxy is not well; "" when it is."""
    try:
        async with session.get(url) as answer:
            return "" if answer.status == 200 else f"status {answer.status}"
    except (aiohttp.ClientError, OSError, TimeoutError) as problem:
        return str(problem) or type(problem).__name__
