"""What watches tell their clients, as chunks of HTTP/1.1 or messages of a WebSocket, past layers that would make it wait.

Changes often come together: one answer of the store brings many, and while a turn of the loop goes on more arrive. What
a client is told in one turn goes out in one chunk, since encrypting it and handing it to the system costs about the
same for one change as for several.
"""

import asyncio
from collections.abc import Callable


class Turn:
    """The clients that were told something in this turn of the loop."""

    def __init__(self) -> None:
        self._told: list[Chunks] = []

    def add(self, chunks: "Chunks") -> None:
        if not self._told:
            asyncio.get_running_loop().call_soon(self._flush)
        self._told.append(chunks)

    def _flush(self) -> None:
        told, self._told = self._told, []
        for chunks in told:
            chunks.flush()


def _chunk(frames: list[bytes]) -> bytes:
    """All in one (RFC 9112, section 7.1)."""
    whole = frames[0] if len(frames) == 1 else b"".join(frames)
    return b"%x\r\n%b\r\n" % (len(whole), whole)


def text(frames: list[bytes]) -> bytes:
    """Each a message of text (RFC 6455, section 5.2)."""
    return b"".join(_message(0x81, frame) for frame in frames)


def binary(frames: list[bytes]) -> bytes:
    """Each a message of bytes."""
    return b"".join(_message(0x82, frame) for frame in frames)


def _message(kind: int, content: bytes) -> bytes:
    """What a server sends is not masked."""
    size = len(content)
    if size < 126:
        head = bytes((kind, size))
    elif size < 1 << 16:
        head = bytes((kind, 126)) + size.to_bytes(2)
    else:
        head = bytes((kind, 127)) + size.to_bytes(8)
    return head + content


class Chunks:
    """One client's. ``form`` makes of frames what is sent."""

    __slots__ = ("_form", "_frames", "_transport", "_turn")

    def __init__(
        self, transport: asyncio.Transport, turn: Turn, form: Callable[[list[bytes]], bytes] = _chunk
    ) -> None:
        self._form = form
        self._transport = transport
        self._turn = turn
        self._frames: list[bytes] = []

    def write(self, frame: bytes) -> None:
        if not self._frames:
            self._turn.add(self)
        self._frames.append(frame)

    def flush(self) -> None:
        """Send now. Nothing of it may be left when others write to the transport."""
        frames = self._frames
        if frames and not self._transport.is_closing():
            self._transport.write(self._form(frames))
        self._frames = []
