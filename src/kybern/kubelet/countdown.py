"""How long a pod may still be active (activeDeadlineSeconds), whatever is done to the clock of the machine.

What holds: the clock that may be set is looked at once, to know how long ago the pod began: by the kubelet before this one,
perhaps. From then on time is taken from a clock that only goes on, so that setting the other one ends no pod too early, and
keeps none. A beginning that is still to come is now: the clock was set back while nobody looked.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime


def _now() -> datetime:
    return datetime.now(UTC)


class Countdown:
    """``wall`` may be set, ``steady`` (seconds) only goes on."""

    def __init__(
        self, wall: Callable[[], datetime] = _now, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._started: datetime | None = None
        self._since = 0.0

    def left(self, limit: int | None, started: datetime | None) -> float | None:
        """Seconds until the limit, negative after it; None without a limit, or before the beginning."""
        if limit is None or started is None:
            return None
        if started != self._started:
            ago = (self._wall() - started).total_seconds()
            self._started, self._since = started, self._steady() - max(0.0, ago)
        return self._since + limit - self._steady()
