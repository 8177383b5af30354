"""What watches tell their clients, as chunks of HTTP/1.1, past the layers that would make it wait.

Changes often come together: one answer of the store brings many, and while a turn of the loop goes on more arrive. What
a client is told in one turn goes out in one chunk, since encrypting it and handing it to the system costs about the
same for one change as for several.
"""

import asyncio


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


class Chunks:
    """One client's."""

    __slots__ = ("_frames", "_transport", "_turn")

    def __init__(self, transport: asyncio.Transport, turn: Turn) -> None:
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
            whole = frames[0] if len(frames) == 1 else b"".join(frames)
            self._transport.write(b"%x\r\n%b\r\n" % (len(whole), whole))
        self._frames = []
