"""How long to wait before something that failed is tried again: 10 s, doubled to 5 min, forgotten after 10 min of peace.

Pure: the caller keeps one ``Delay`` for each thing that fails. The first retry is at once, as upstream has it: the delay is
entered when the thing is tried, and counts from when it ended.
"""

from dataclasses import dataclass
from datetime import datetime

FIRST = 10.0
LAST = 300.0


@dataclass(frozen=True, slots=True)
class Delay:
    """``seconds`` to wait after an end; ``updated`` is when it was last made longer."""

    seconds: float
    updated: datetime


def _stale(delay: Delay, now: datetime, last: float) -> bool:
    return (now - delay.updated).total_seconds() > 2 * last


def remaining(delay: Delay | None, ended: datetime, now: datetime, last: float = LAST) -> float:
    """Seconds until the next try may be made; 0 when it may be made now.

    An end that is still to come tells that the clock was set back, and not how long ago it was: nobody waits for that.
    """
    if delay is None or _stale(delay, ended, last) or now < ended:
        return 0.0
    return max(0.0, delay.seconds - (now - ended).total_seconds())


def longer(delay: Delay | None, now: datetime, last: float = LAST) -> Delay:
    """What to keep once another try is made."""
    if delay is None or _stale(delay, now, last):
        return Delay(min(FIRST, last), now)
    return Delay(min(delay.seconds * 2, last), now)
