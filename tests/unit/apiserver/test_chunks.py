"""What clients are told in one turn goes out at once, each to its own."""

import asyncio
from typing import cast

from kybern.apiserver.chunks import Chunks, Turn


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written.append(data)


def made(turn: Turn) -> tuple[Chunks, Transport]:
    transport = Transport()
    return Chunks(cast("asyncio.Transport", transport), turn), transport


async def test_frames_of_one_turn_are_one_chunk() -> None:
    turn = Turn()
    (first, one), (second, two) = made(turn), made(turn)
    first.write(b"a" * 15 + b"\n")
    second.write(b"only\n")
    first.write(b"b\n")
    assert one.written == two.written == []
    await asyncio.sleep(0)

    assert one.written == [b"12\r\n" + b"a" * 15 + b"\nb\n\r\n"]
    assert two.written == [b"5\r\nonly\n\r\n"]

    first.write(b"c\n")
    await asyncio.sleep(0)
    assert one.written[1:] == [b"2\r\nc\n\r\n"]


async def test_what_is_flushed_early_is_not_sent_twice() -> None:
    turn = Turn()
    chunks, transport = made(turn)
    chunks.write(b"a\n")
    chunks.flush()
    await asyncio.sleep(0)

    assert transport.written == [b"2\r\na\n\r\n"]


async def test_a_client_that_has_gone_is_told_nothing() -> None:
    chunks, transport = made(Turn())
    transport.closing = True
    chunks.write(b"a\n")
    await asyncio.sleep(0)

    assert transport.written == []
