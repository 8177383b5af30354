"""Frames of SPDY, and which streams a command has."""

import asyncio
import struct
import zlib

import pytest

from kybern.daemon import spdy
from kybern.daemon.sockets import channels
from kybern.daemon.spdy import Frame, Session


class Kept:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        return

    def close(self) -> None:
        self.closed = True


def reader(*frames: bytes) -> asyncio.StreamReader:
    found = asyncio.StreamReader()
    found.feed_data(b"".join(frames))
    found.feed_eof()
    return found


async def test_frames_are_read_as_they_were_built() -> None:
    assert await spdy.read(reader(spdy.data(3, b"abc", last=True))) == Frame(0, 1, 3, b"abc")
    body = struct.pack(">I", 5) + b"x"
    assert await spdy.read(reader(spdy.control(2, body))) == Frame(2, 0, 5, body)
    with pytest.raises(ValueError, match="SPDY 2"):
        await spdy.read(reader(struct.pack(">HHI", 0x8002, 1, 0)))
    with pytest.raises(asyncio.IncompleteReadError):
        await spdy.read(reader(spdy.data(3, b"abc")[:-1]))


async def test_streams_have_odd_numbers_and_their_headers_packed_as_one_stream() -> None:
    kept = Kept()
    session = Session(reader(), kept)
    assert [await session.open({"streamType": name}) for name in ("error", "stdin")] == [1, 3]
    sent, unpack = reader(kept.data), zlib.decompressobj()
    for number, name in ((1, b"error"), (3, b"stdin")):
        frame = await spdy.read(sent)
        assert (frame.kind, frame.stream) == (1, number)
        wanted = struct.pack(">II", 1, 10) + b"streamtype" + struct.pack(">I", len(name)) + name
        assert unpack.decompress(frame.body[10:]) == wanted


async def test_what_comes_is_told_by_stream_until_the_end() -> None:
    kept = Kept()
    reset = spdy.control(3, struct.pack(">II", 5, 1))
    pings = [spdy.control(6, struct.pack(">I", number)) for number in (2, 3)]
    frames = (
        spdy.data(1, b"a"),
        *pings,
        spdy.data(3, b"b", last=True),
        reset,
        spdy.control(7, bytes(8)),
        b"later",
    )
    session = Session(reader(*frames), kept)
    assert [found async for found in session.read()] == [(1, b"a", False), (3, b"b", True), (5, b"", True)]
    assert kept.data == pings[0], "only a ping of the other side is answered"


async def test_long_bodies_become_several_frames() -> None:
    kept = Kept()
    await Session(reader(), kept).write(1, bytes(100_000), last=True)
    sent = reader(kept.data)
    found = [await spdy.read(sent) for _ in range(3)]
    assert [(len(frame.body), frame.flags) for frame in found] == [(65_536, 0), (34_464, 0), (0, 1)]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"stdout"}, {3: "error", 1: "stdout"}),
        ({"stdin", "stdout", "stderr"}, {3: "error", 0: "stdin", 1: "stdout", 2: "stderr"}),
        ({"stdin", "stdout", "stderr", "tty"}, {3: "error", 0: "stdin", 1: "stdout", 4: "resize"}),
    ],
)
def test_a_terminal_has_a_size_and_no_error_output(wanted: set[str], names: dict[int, str]) -> None:
    assert channels(wanted) == names
