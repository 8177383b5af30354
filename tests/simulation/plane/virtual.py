"""An event loop whose time passes only when nobody has anything to do: an hour of waiting takes no time.

What holds: whoever sleeps wakes in the order of time, and between two moments everything that can be done is done. A
loop that would wait for ever is an error, because in one process nothing can come from outside.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, override

# When the simulated clusters begin.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


class _Skipping(selectors.DefaultSelector):
    """Looks at what is there, and moves the time on instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("everybody waits and nothing will ever happen")
            self.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time`` begins at 0."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    @override
    def time(self) -> float:
        return self._skipping.now


def seconds() -> float:
    """The time of the simulation as a number, of the loop that runs."""
    return EPOCH + asyncio.get_running_loop().time()


def moment() -> datetime:
    return datetime.fromtimestamp(seconds(), UTC)


def simulated[T](main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to its end, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
