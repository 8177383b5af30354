"""Reads that come together share a question, and never one that was sent before they asked."""

import asyncio

import pytest

from kybern.storage.reads import MOST, Reads
from kybern.storage.store import Unavailable


class Place:
    """Answers when told to, with the number of the question."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, ...]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def ask(self, keys: tuple[bytes, ...]) -> dict[bytes, int]:
        self.asked.append(keys)
        number = len(self.asked)
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]
        return dict.fromkeys(keys, number)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_readers_who_come_while_a_question_is_on_its_way_share_the_next() -> None:
    place = Place()
    reads = Reads(place.ask)
    first = asyncio.create_task(reads.get(b"a"))
    await settled()
    later = [asyncio.create_task(reads.get(key)) for key in (b"a", b"b", b"a")]
    await settled()
    assert place.asked == [(b"a",)]
    place.answers[0].set_result(None)
    await settled()
    assert place.asked == [(b"a",), (b"a", b"b")]
    place.answers[1].set_result(None)
    assert (await first, *[await one for one in later]) == (1, 2, 2, 2)


async def test_a_question_holds_no_more_keys_than_the_store_takes() -> None:
    place = Place()
    reads = Reads(place.ask)
    readers = [asyncio.create_task(reads.get(b"%d" % number)) for number in range(MOST + 1)]
    await settled()
    place.answers[0].set_result(None)
    await settled()
    place.answers[1].set_result(None)
    await asyncio.gather(*readers)
    assert [len(keys) for keys in place.asked] == [MOST, 1]


async def test_a_reader_who_goes_leaves_the_answer_to_the_others() -> None:
    place = Place()
    reads = Reads(place.ask)
    going, staying = (asyncio.create_task(reads.get(b"a")) for _ in range(2))
    await settled()
    going.cancel()
    await settled()
    place.answers[0].set_result(None)
    assert await staying == 1
    assert going.cancelled()


async def test_a_question_that_fails_fails_for_its_readers_only() -> None:
    place = Place()
    reads = Reads(place.ask)
    readers = [asyncio.create_task(reads.get(b"a")) for _ in range(2)]
    await settled()
    place.answers[0].set_exception(Unavailable("no leader"))
    for reader in readers:
        with pytest.raises(Unavailable, match="no leader"):
            await reader
    after = asyncio.create_task(reads.get(b"a"))
    await settled()
    place.answers[1].set_result(None)
    assert await after == 2
