"""Watches that end together, told in one line.

A member of etcd that goes takes the watches of all kinds with it, within a moment: it is one thing that happened, and what
an operator has to know of it is why, and of how many.
"""

import asyncio
import logging

log = logging.getLogger(__name__)

GATHERED = 0.5  # seconds in which watches that are interrupted belong together
_NAMED = 3


def told(interrupted: dict[str, str]) -> str:
    """A line of what was interrupted, and why: reasons by prefix. Pure."""
    names = [prefix.removeprefix("/registry/").rstrip("/") for prefix in interrupted]
    shown = ", ".join(names[:_NAMED])
    if len(names) > _NAMED:
        shown += f" and {len(names) - _NAMED} more"
    return f"Watch of {shown} interrupted: {'; '.join(dict.fromkeys(interrupted.values()))}"


class Interruptions:
    """Those of the caches of one store."""

    def __init__(self) -> None:
        self._lately: dict[str, str] = {}

    def add(self, prefix: str, reason: str) -> None:
        """Told within a moment, with all that come until then."""
        if not self._lately:
            asyncio.get_running_loop().call_later(GATHERED, self._tell)
        self._lately.setdefault(prefix, reason)

    def _tell(self) -> None:
        log.warning("%s", told(self._lately))
        self._lately = {}
