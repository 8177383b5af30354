"""An event loop whose time passes only when nobody has anything to do: an hour of waiting takes no time.

What holds: whoever sleeps wakes in the order of time, and between two moments everything that can be done is done. A
loop that would wait for ever is an error, because in one process nothing can come from outside.
"""

import asyncio
import os
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
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


def simulated[T](main: Callable[[], Coroutine[Any, Any, T]], seed: int = 0) -> T:
    """Run to its end, in virtual time; what is left to chance is the seed's."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        with ordained(random.Random(seed), lambda: EPOCH + loop.time()):
            return runner.run(main())


@contextmanager
def ordained(dice: random.Random, clock: Callable[[], float]) -> Iterator[None]:
    """Everybody's chance comes from ``dice`` and everybody's time, in seconds, from ``clock``: also names, uids, jitter."""
    with ExitStack() as after:
        after.callback(random.setstate, random.getstate())
        random.seed(dice.random())
        for module, name, value in (
            (os, "urandom", dice.randbytes),
            (random, "_urandom", dice.randbytes),  # what random.SystemRandom and secrets take
            (time, "time", clock),
            (time, "monotonic", clock),
            (time, "time_ns", lambda: int(clock() * 1e9)),
        ):
            after.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        yield
