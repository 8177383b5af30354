"""How many requests are answered at once, where nobody parts them by flows (--enable-priority-and-fairness=false)."""

from collections.abc import Mapping
from typing import Protocol

from kybern.apiserver.crowded import Crowded
from kybern.auth.attributes import Attributes
from kybern.auth.user import MASTERS

READING = frozenset({"get", "list", "watch", "head", "options"})


class Place(Protocol):
    """What a request holds while it is answered. ``turn``: what it waits for first, if anything."""

    @property
    def turn(self) -> object: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """For the client."""
        ...

    async def wait(self, seconds: float) -> None: ...
    def leave(self) -> None:
        """Once or more often."""
        ...


class Gate(Protocol):
    """``patience``: seconds that a request waits at most."""

    patience: float

    def take(self, asked: Attributes, query: Mapping[str, str]) -> Place:
        """Raises Crowded."""
        ...


class Counted:
    """One of so many."""

    turn = None
    headers = ()

    def __init__(self, now: list[int], at: int) -> None:
        self._now: list[int] | None = now
        self._at = at

    async def wait(self, _seconds: float) -> None:
        return

    def leave(self) -> None:
        if self._now is not None:
            self._now[self._at] -= 1
            self._now = None


class Limits:
    """How many reads and writes may be on their way; those of administrators are not limited. 0: no limit."""

    patience = 0.0

    def __init__(self, reads: int, writes: int) -> None:
        self._limits = (reads, writes)
        self._now = [0, 0]

    def take(self, asked: Attributes, _query: Mapping[str, str]) -> Counted:
        at = int(asked.verb not in READING)
        limit = self._limits[at]
        if limit and self._now[at] >= limit and MASTERS not in asked.user.groups:
            raise Crowded("limit")
        self._now[at] += 1
        return Counted(self._now, at)
