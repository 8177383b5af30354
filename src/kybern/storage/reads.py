"""Reads of single keys that come together share one question.

A question costs both sides about the same whether it asks for one key or for many. While one is on its way, those who
want to read gather for the next. What holds: a question is sent only after all who get its answer have asked, so that
each of them reads what the store has no earlier than that. A reader who is alone waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

MOST = 64  # etcd takes 128 operations in a transaction unless told otherwise


class Reads[Found]:
    """``ask`` reads several keys at once."""

    def __init__(self, ask: Callable[[tuple[bytes, ...]], Awaitable[Mapping[bytes, Found]]]) -> None:
        self._ask = ask
        self._waiting: dict[bytes, list[asyncio.Future[Found]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: bytes) -> Found:
        """What is found of a key, asked no earlier than this call; raises what ``ask`` raises."""
        loop = asyncio.get_running_loop()
        reader: asyncio.Future[Found] = loop.create_future()
        self._waiting.setdefault(key, []).append(reader)
        if self._asking is None:
            self._asking = loop.create_task(self._run())
        return await reader

    async def _run(self) -> None:
        """Ask until nobody waits."""
        try:
            while self._waiting:
                await self._question()
        finally:
            self._asking = None

    async def _question(self) -> None:
        keys = tuple(self._waiting)[:MOST]
        readers = {key: self._waiting.pop(key) for key in keys}
        try:
            found = await self._ask(keys)
        except Exception as problem:  # whatever it is, those who asked are told
            for reader in _still(readers.values()):
                reader.set_exception(problem)
        except BaseException:
            for reader in _still(readers.values()):
                reader.cancel()
            raise
        else:
            for key, those in readers.items():
                _tell(those, found[key])


def _tell[Found](readers: list[asyncio.Future[Found]], found: Found) -> None:
    for reader in readers:
        if not reader.done():
            reader.set_result(found)


def _still[Found](readers: Iterable[list[asyncio.Future[Found]]]) -> Iterator[asyncio.Future[Found]]:
    """Those who have not gone meanwhile."""
    return (reader for those in readers for reader in those if not reader.done())
