"""How often something may be done: so many in a second, with a few at once (a token bucket, as Go's flowcontrol). Pure.

The caller says what time it is, in seconds of any clock that does not go back.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Allowance:
    """``rate`` in a second; 0 or less is any number. ``burst`` at once, and at least one."""

    rate: float
    burst: int
    _tokens: float = -1.0
    _at: float = 0.0

    def take(self, now: float) -> bool:
        """Whether it may be done now; counts it when it may."""
        if self.rate <= 0:
            return True
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until it may be done; 0 when it may be done now. Counts nothing."""
        if self.rate <= 0:
            return 0.0
        self._fill(now)
        return max(0.0, (1 - self._tokens) / self.rate)

    def _fill(self, now: float) -> None:
        most = float(max(self.burst, 1))
        self._tokens = (
            most if self._tokens < 0 else min(most, self._tokens + max(0.0, now - self._at) * self.rate)
        )
        self._at = now
