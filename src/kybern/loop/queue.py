"""The queue of keys that need work.

What holds: a key is never with two workers; a key that is added ten times while it waits is worked on once; one that is
added while it is worked on is worked on again afterwards. A key that failed comes back after a delay that doubles from
5 ms; ``forget`` (a round that succeeded) makes the next failure start from 5 ms again. A later wish never delays an
earlier one: the soonest of all wishes for a key counts.
"""

import asyncio
from collections import deque

from kybern.loop import metrics
from kybern.loop.controller import Key

_FIRST_DELAY = 0.005
# Upstream waits up to 1000 s; nobody who mended what was wrong wants to wait that long for it to show.
_LAST_DELAY = 60.0


class Queue:
    """Keys in order of arrival, with delays. Time is the event loop's."""

    def __init__(self, name: str) -> None:
        self._waiting: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._working: dict[Key, float] = {}
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._since: dict[Key, float] = {}
        self._wake: deque[asyncio.Future[None]] = deque()
        self._depth = metrics.DEPTH.labels(name)
        self._adds = metrics.ADDS.labels(name)
        self._retries = metrics.RETRIES.labels(name)
        self._waited = metrics.WAITED.labels(name)
        self._worked = metrics.WORKED.labels(name)
        metrics.UNFINISHED.labels(name).set_function(lambda: sum(self._ages()))
        metrics.LONGEST.labels(name).set_function(lambda: max(self._ages(), default=0.0))

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or being worked on; delayed keys do not count."""
        return not self._waiting and not self._working

    def _ages(self) -> list[float]:
        try:
            now = _now()
        except RuntimeError:
            return []  # no loop runs any more, and so nobody works on what was begun
        return [now - since for since in self._working.values()]

    def add(self, key: Key) -> None:
        """This key needs work now."""
        if key in self._dirty:
            return
        self._adds.inc()
        self._dirty.add(key)
        self._since[key] = _now()
        if key not in self._working:
            self._enter(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """This key needs work in a while."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        waiting = self._later.get(key)
        if waiting is not None:
            if waiting.when() <= loop.time() + seconds:
                return
            waiting.cancel()
        self._later[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: Key, *, at_least: float = 0.0, at_most: float = _LAST_DELAY) -> float:
        """This key failed: work on it again, later each time. Gives the delay."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self._retries.inc()
        delay = min(max(_FIRST_DELAY * (1 << min(count, 30)), at_least), at_most)
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """This key succeeded."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """How often in a row this key has failed."""
        return self._failures.get(key, 0)

    async def take(self) -> Key:
        """The next key; it is with the caller until ``done``."""
        while not self._waiting:
            future = asyncio.get_running_loop().create_future()
            self._wake.append(future)
            await future
        key = self._waiting.popleft()
        self._depth.set(len(self._waiting))
        self._dirty.discard(key)
        now = _now()
        self._waited.observe(now - self._since.pop(key, now))
        self._working[key] = now
        return key

    def done(self, key: Key) -> None:
        """The caller of ``take`` is through with this key."""
        self._worked.observe(_now() - self._working.pop(key))
        if key in self._dirty:
            self._enter(key)

    def close(self) -> None:
        """Drop what was to happen later."""
        for handle in self._later.values():
            handle.cancel()
        self._later.clear()

    def _due(self, key: Key) -> None:
        del self._later[key]
        self.add(key)

    def _enter(self, key: Key) -> None:
        self._waiting.append(key)
        self._depth.set(len(self._waiting))
        while self._wake:
            future = self._wake.popleft()
            if not future.done():
                future.set_result(None)
                break


def _now() -> float:
    return asyncio.get_running_loop().time()
