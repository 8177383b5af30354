"""Reads of single keys that come together share one question.

A question costs both sides about the same whether it asks for one key or for many. While one is on its way, those who
want to read gather for the next. What holds: a question is sent only after all who get its answer have asked, so that
each of them reads what the store has no earlier than that. A reader who is alone waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

MOST = 64  # etcd takes 128 operations in a transaction unless told otherwise


class _Question[Found]:
    """Keys to ask for; ``answer`` becomes what was found of each."""

    __slots__ = ("answer", "keys")

    answer: asyncio.Task[Mapping[bytes, Found]]

    def __init__(self) -> None:
        self.keys: dict[bytes, None] = {}


class Reads[Found]:
    """``ask`` reads several keys at once."""

    def __init__(self, ask: Callable[[tuple[bytes, ...]], Awaitable[Mapping[bytes, Found]]]) -> None:
        self._ask = ask
        self._next: _Question[Found] | None = None
        self._asking = asyncio.Lock()

    async def get(self, key: bytes) -> Found:
        """What is found of a key, asked no earlier than this call; raises what ``ask`` raises."""
        question = self._next
        if question is None or len(question.keys) >= MOST:
            question = self._next = _Question()
            question.answer = asyncio.create_task(self._asked(question))
        question.keys[key] = None
        # One reader who goes does not take the answer from the others.
        return (await asyncio.shield(question.answer))[key]

    async def _asked(self, question: _Question[Found]) -> Mapping[bytes, Found]:
        async with self._asking:
            if self._next is question:
                self._next = None
            return await self._ask(tuple(question.keys))
