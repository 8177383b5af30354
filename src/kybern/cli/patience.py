"""Waiting for what others do in their own time: told once, looked at again and again, given up at last."""

import time

from kybern.machines.errors import MachineError


class Patience:
    """``seconds`` is how long one thing may take, ``every`` the time between two looks at it."""

    def __init__(self, seconds: float, every: float) -> None:
        self._seconds, self._every = seconds, every
        self._since: float | None = None

    def wait(self, saying: str, despair: str) -> None:
        """Until the next look. Raises MachineError with ``despair`` when it took too long."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            print(saying, flush=True)
        if now - self._since > self._seconds:
            raise MachineError(despair)
        time.sleep(self._every)

    def restore(self) -> None:
        """It is done; the next thing has all the time again."""
        self._since = None
