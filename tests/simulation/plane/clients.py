"""Clients that bring trouble by a seed: refused and lost writes, watches that end."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import override

from kybern.client.verbs import JSON, Verbs
from kybern.machinery.errors import Conflict, Expired, ServiceUnavailable
from tests.simulation.through import Asked, Through


@dataclass(slots=True)
class Weather:
    """How likely each trouble is, until it is ``over``; ``seen`` is how often each came."""

    dice: random.Random
    conflict: float = 0.03
    lost: float = 0.02
    cut: float = 0.002
    over: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def brings(self, what: str, chance: float) -> bool:
        happens = not self.over and self.dice.random() < chance
        self.seen[what] += happens
        return happens


class Troubled(Through):
    """A client in bad weather. A write that is lost was done or was not; who asked cannot tell."""

    def __init__(self, api: Verbs, weather: Weather) -> None:
        super().__init__(api)
        self._weather = weather

    @override
    async def answer(self, asked: Asked) -> bytes:
        weather = self._weather
        if asked.method in ("PUT", "PATCH") and weather.brings("conflict", weather.conflict):
            raise Conflict("a conflict by the seed")
        if asked.writes and weather.brings("lost write", weather.lost / 2):
            raise ServiceUnavailable("a write that never came, by the seed")
        found = await super().answer(asked)
        if asked.writes and weather.brings("lost answer", weather.lost / 2):
            raise ServiceUnavailable("an answer that never came, by the seed")
        return found

    @override
    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self.api.stream(path, accept=accept, silence=silence) as news:
            yield self._cut(news)

    async def _cut(self, news: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in news:
            if self._weather.brings("cut", self._weather.cut):
                # What was about to come is seen by the next watch, or by a new list.
                how = self._weather.dice.randrange(3)
                if how == 0:
                    return
                raise Expired("too old, by the seed") if how == 1 else ServiceUnavailable("cut, by the seed")
            yield line
            await asyncio.sleep(0)
