"""Clients that bring trouble: whose controller manager dies, and whose watches are late.

Those that die: after so many writes nothing of theirs reaches the API server any more.

That is what a kill between two actions looks like from outside, and what is left behind is for the next one to finish.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, override

from kybern.client.verbs import JSON, Verbs
from kybern.loop.controller import Controller
from kybern.loop.run import Loop
from tests.simulation.api import FakeApi
from tests.simulation.named import Named
from tests.simulation.through import Asked, Through


class Mortal(Through):
    """A client that lives for ``writes`` writes, other than events."""

    def __init__(self, api: FakeApi, writes: int) -> None:
        super().__init__(api)
        self._left = writes
        self.died = asyncio.Event()

    @override
    async def answer(self, asked: Asked) -> bytes:
        if asked.writes and "/events" not in asked.path:
            if self._left == 0:
                self.died.set()
            self._left -= 1
        if self.died.is_set():
            await asyncio.Event().wait()
        return await super().answer(asked)


class Late(Through):
    """A client whose watches are so many seconds behind."""

    def __init__(self, api: FakeApi, seconds: float) -> None:
        super().__init__(api)
        self._seconds = seconds

    @override
    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().stream(path, accept=accept, silence=silence) as news:
            yield self._delayed(news)

    async def _delayed(self, news: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in news:
            await asyncio.sleep(self._seconds)
            yield line


@asynccontextmanager
async def alive(client: Verbs, controllers: Sequence[Controller[Any]]) -> AsyncIterator[Loop]:
    """A controller manager at work, with caches that know nothing yet."""
    loop = Loop(client, controllers, lambda name: Named(client, name))
    task = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        task.cancel()
        await asyncio.wait([task])
    api = getattr(client, "api", client)
    assert isinstance(api, FakeApi)
    assert api.fights.found == [], api.fights.found[0]
