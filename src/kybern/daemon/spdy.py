"""The part of SPDY/3.1 by which a kubelet's streams are opened, written and read.

What holds: frames are built by pure functions, and every stream is opened by us. There is no flow control, as in the library
that kubelets use. Headers are packed without the protocol's dictionary, which the other side allows; those that
come back say nothing that is needed, and are not looked at.
"""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

_SYN_STREAM, _RST_STREAM, _PING, _GOAWAY = 1, 3, 6, 7
_CONTROL, _VERSION, _FIN = 0x8000, 3, 1
_PART = 1 << 16


@dataclass(frozen=True, slots=True)
class Frame:
    """``kind`` is 0 for data; ``stream`` is 0 where a control frame is about none."""

    kind: int
    flags: int
    stream: int
    body: bytes


def data(stream: int, body: bytes, *, last: bool = False) -> bytes:
    """A data frame. Pure."""
    return struct.pack(">II", stream, (_FIN if last else 0) << 24 | len(body)) + body


def control(kind: int, body: bytes) -> bytes:
    """Pure."""
    return struct.pack(">HHI", _CONTROL | _VERSION, kind, len(body)) + body


def block(fields: Mapping[str, str]) -> bytes:
    """Headers, not packed yet. Pure."""
    parts = [struct.pack(">I", len(fields))]
    for name, value in fields.items():
        for text in (name.lower().encode(), value.encode()):
            parts += [struct.pack(">I", len(text)), text]
    return b"".join(parts)


async def read(reader: asyncio.StreamReader) -> Frame:
    """The next frame. Raises IncompleteReadError at the end, ValueError for what is no SPDY."""
    first, second = struct.unpack(">II", await reader.readexactly(8))
    body = await reader.readexactly(second & 0xFFFFFF)
    flags = second >> 24
    if not first >> 31:
        return Frame(0, flags, first, body)
    if first >> 16 != _CONTROL | _VERSION:
        raise ValueError(f"cannot read a frame of SPDY {first >> 16 & 0x7FFF}")
    stream = struct.unpack(">I", body[:4])[0] & 0x7FFFFFFF if len(body) >= 4 else 0
    return Frame(first & 0xFFFF, flags, stream, body)


class Writer(Protocol):
    """The part of a StreamWriter that is needed."""

    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...


class Session:
    """Our end of a connection on which streams are spoken."""

    def __init__(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._packer = zlib.compressobj()
        self._next = 1

    async def open(self, fields: Mapping[str, str]) -> int:
        """A new stream; gives its number."""
        number, self._next = self._next, self._next + 2
        packed = self._packer.compress(block(fields)) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._writer.write(control(_SYN_STREAM, struct.pack(">IIH", number, 0, 0) + packed))
        await self._writer.drain()
        return number

    async def write(self, stream: int, body: bytes, *, last: bool = False) -> None:
        for at in range(0, len(body), _PART):
            self._writer.write(data(stream, body[at : at + _PART]))
            await self._writer.drain()
        if last:
            self._writer.write(data(stream, b"", last=True))
            await self._writer.drain()

    async def read(self) -> AsyncIterator[tuple[int, bytes, bool]]:
        """What comes: stream, bytes, and whether it was the last of this stream. Ends with the connection."""
        while True:
            try:
                frame = await read(self._reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if frame.kind == 0:
                yield frame.stream, frame.body, bool(frame.flags & _FIN)
            elif frame.kind == _RST_STREAM or (frame.flags & _FIN and frame.kind != _PING):
                yield frame.stream, b"", True
            elif frame.kind == _PING and not frame.stream & 1:
                self._writer.write(control(_PING, frame.body))
            elif frame.kind == _GOAWAY:
                return

    def close(self) -> None:
        self._writer.close()
