"""What was found out about tokens, for a while: answers are kept by a digest, and one question is asked once at a time.

The digest is keyed by chance, so that no token lies in memory longer than it must, and nobody can aim at its place
(upstream: ``apiserver/pkg/authentication/token/cache``). A lookup that several wait for goes on when one of them leaves.
"""

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from kybern.apiserver.identity import metrics
from kybern.auth.tokens import InvalidToken
from kybern.auth.user import User

MOST = 32_768
LOOKUP_SECONDS = 30.0

type Known = tuple[User, tuple[str, ...]]
"""Whose a token is, and for which of the wanted audiences it is good."""
type Ask = Callable[[str, tuple[str, ...]], Awaitable[Known | None]]
"""Whose a token is; None: the one who was asked does not know it. Raises InvalidToken, which is not kept."""


def _key(secret: bytes, token: str, audiences: tuple[str, ...]) -> bytes:
    """Lengths come first, so that no two questions look alike."""
    found = hmac.new(secret, digestmod=hashlib.sha256)
    for part in (token.encode(), *(one.encode() for one in audiences)):
        found.update(len(part).to_bytes(4))
        found.update(part)
    return found.digest()


@dataclass(slots=True)
class Remembered:
    """Asks ``ask``, and keeps what it says for ``seconds``; 0 keeps nothing."""

    ask: Ask
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _secret: bytes = field(default_factory=lambda: os.urandom(32), init=False, repr=False)
    _kept: dict[bytes, tuple[Known | None, float]] = field(default_factory=dict, init=False)
    _asking: dict[bytes, asyncio.Task[Known | None]] = field(default_factory=dict, init=False)

    async def __call__(self, token: str, audiences: tuple[str, ...]) -> Known | None:
        """As ``ask``."""
        key = _key(self._secret, token, audiences)
        began = time.perf_counter()
        kept = self._kept.get(key)
        if kept is not None and kept[1] > self.clock():
            metrics.CACHE.requested("hit", time.perf_counter() - began)
            return kept[0]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._fetch(key, token, audiences))
            asking.add_done_callback(lambda done: self._done(key, done))
        metrics.CACHE.blocked += 1
        try:
            return await asyncio.shield(asking)
        finally:
            metrics.CACHE.blocked -= 1
            metrics.CACHE.requested("miss", time.perf_counter() - began)

    async def _fetch(self, key: bytes, token: str, audiences: tuple[str, ...]) -> Known | None:
        metrics.CACHE.fetching += 1
        good = False
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self.ask(token, audiences)
            good = True
        except TimeoutError as problem:
            raise InvalidToken("context deadline exceeded") from problem
        finally:
            metrics.CACHE.fetching -= 1
            metrics.CACHE.fetched(good=good)
        if self.seconds > 0:
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[key] = (found, self.clock() + self.seconds)
        return found

    def _done(self, key: bytes, done: asyncio.Task[Known | None]) -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            done.exception()  # those who waited may all have left

    async def close(self) -> None:
        """Nobody waits any more."""
        for asking in tuple(self._asking.values()):
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
