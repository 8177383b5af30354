"""One HTTP/2 connection with gRPC calls on it: bytes in, messages out, and no I/O of its own.

Theory of operation: a call is a stream. ``open`` sends its headers and first message, in one piece when windows allow,
which they do for all but large values; what they do not allow waits, and goes as the server gives more room. ``receive``
takes what came in whatever pieces, and hands each whole message to the receiver of its stream, then how it ended, once.

What this side may be sent is bounded for each stream. A stream that is answered once takes all of its answer; one that
goes on gives room again only for what its receiver says it has used (``used``), so that a slow one makes the server
wait, not this process grow. The connection as a whole is not bounded.

When the server says that it goes (GOAWAY), streams that it has not seen end as ``untouched``: those may be sent again
anywhere. The others go on, and ``leaving`` says that new ones belong on a new connection.
"""

from collections.abc import Callable
from typing import Protocol

from kybern.storage.http2 import frames, hpack
from kybern.storage.http2.failed import UNAVAILABLE, UNKNOWN, Failed, problem
from kybern.storage.http2.hpack import Malformed

ROOM = 16 << 20
_OPENED = ROOM // 4
"""Room is given again when this much was used."""
_LAST = (1 << 31) - 1  # numbers of streams do not come again: after the last one the connection is left


class Receiver(Protocol):
    """Who called. ``lasting``: the answer has no end, so that room is given only for what was used."""

    lasting: bool

    def message(self, payload: bytes) -> None: ...

    def ended(self, problem: Failed | None) -> None: ...


class _Stream:
    """``buffer`` holds the beginning of a message that has ``wanted`` bytes, as far as that is known."""

    __slots__ = ("buffer", "ends", "receiver", "unsent", "used", "wanted", "window")

    def __init__(self, receiver: Receiver, window: int) -> None:
        self.receiver = receiver
        self.window = window
        self.buffer = bytearray()
        self.wanted = 5
        self.used = 0
        self.unsent = b""
        self.ends = False


class Connection:
    """``write`` takes bytes for the server, in order, and does not fail; so do ``later`` and ``idly``, for what has time.

    ``idly`` takes answers to questions whose asker learns nothing from a quick one.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        later: Callable[[bytes], None],
        idly: Callable[[bytes], None],
    ) -> None:
        self._write = write
        self._later = later
        self._idly = idly
        self._streams: dict[int, _Stream] = {}
        self._blocked: dict[int, _Stream] = {}
        self._next = 1
        self._window = frames.USUAL_WINDOW
        self._first_window = frames.USUAL_WINDOW
        self._frame = frames.USUAL_FRAME
        self._used = 0
        self._rest = b""
        self._block = b""
        self.leaving = False
        self._acts: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._data,
            frames.HEADERS: self._headers,
            frames.CONTINUATION: self._continued,
            frames.RESET: self._reset,
            frames.SETTINGS: self._settings,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW: self._more,
        }

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, number: int) -> bool:
        """Whether a stream has not ended."""
        return number in self._streams

    def start(self) -> None:
        """Say what this side is like; calls may follow at once."""
        said = frames.settings((frames.TABLE_SIZE, 0), (frames.PUSH, 0), (frames.FIRST_WINDOW, ROOM))
        more = frames.window(0, frames.MOST_WINDOW - frames.USUAL_WINDOW)
        self._write(frames.PREFACE + said + more)

    def open(self, head: bytes, payload: bytes, receiver: Receiver) -> int:
        """Call with a header block and a first message; gives the number of the stream."""
        number = self._next
        self._next = number + 2
        if number >= _LAST:
            self.leaving = True
        stream = self._streams[number] = _Stream(receiver, self._first_window)
        size, ends = len(head), not receiver.lasting
        start = frames.HEAD.pack(size >> 8, size & 255, frames.HEADERS, frames.END_HEADERS, number) + head
        length = len(payload) + 5
        if length <= self._frame and length <= self._window and length <= stream.window:
            self._window -= length
            stream.window -= length
            data = frames.HEAD.pack(length >> 8, length & 255, frames.DATA, ends, number)
            self._write(b"".join((start, data, frames.MESSAGE.pack(0, length - 5), payload)))
        else:
            self._write(start)
            self._wait(number, stream, frames.message(payload), ends=ends)
        return number

    def send(self, number: int, payload: bytes) -> None:
        """A further message of a lasting stream; of one that has ended it goes nowhere."""
        stream = self._streams.get(number)
        if stream is not None:
            self._wait(number, stream, frames.message(payload), ends=False)

    def cancel(self, number: int, why: Failed) -> None:
        """End a stream from this side; nothing when it has ended."""
        if number in self._streams:
            self._write(frames.reset(number))
            self._end(number, why)

    def used(self, number: int, size: int) -> None:
        """So much of what a lasting stream brought was used up."""
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.used += size
        if stream.used >= _OPENED:
            self._later(frames.window(number, stream.used))
            stream.used = 0

    def ping(self) -> None:
        """The server answers at once, so that something is received."""
        self._write(frames.frame(frames.PING, 0, 0, bytes(8)))

    def lost(self, why: str) -> None:
        """The connection is gone."""
        self.leaving = True
        for number in tuple(self._streams):
            self._end(number, Failed(UNAVAILABLE, why))

    def receive(self, data: bytes) -> None:
        """Raises Malformed for what no server of HTTP/2 sends; the connection is of no more use then."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        unpack = frames.HEAD.unpack_from
        while end - at >= 9:
            high, low, kind, flags, number = unpack(data, at)
            stop = at + 9 + (high << 8 | low)
            if stop > end:
                break
            act = self._acts.get(kind)
            if act is not None:
                act(flags, number, data[at + 9 : stop])
            at = stop
        self._rest = data[at:]

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._used += size
        if self._used >= _OPENED:
            self._later(frames.window(0, self._used))
            self._used = 0
        stream = self._streams.get(number)
        if stream is None:
            return
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        # Of a lasting stream only the padding is used already.
        self.used(number, size - len(payload) if stream.receiver.lasting else size)
        if not stream.buffer:
            _messages(stream, payload)
        else:
            stream.buffer += payload
            if len(stream.buffer) >= stream.wanted:
                _messages(stream, stream.buffer)
        if flags & frames.END_STREAM:
            self._end(number, Failed(UNKNOWN, "the answer ended without a status"))

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.PRIORITY:
            payload = payload[5:]
        if not flags & frames.END_HEADERS:
            # What follows belongs to it, and the last piece does not say whether the stream ends.
            self._block = bytes((flags & frames.END_STREAM,)) + payload
            return
        self._told(number, payload, ends=bool(flags & frames.END_STREAM))

    def _continued(self, flags: int, number: int, payload: bytes) -> None:
        self._block += payload
        if flags & frames.END_HEADERS:
            self._told(number, self._block[1:], ends=bool(self._block[0]))

    def _told(self, number: int, block: bytes, *, ends: bool) -> None:
        fields = hpack.decoded(block)
        if ends:
            self._end(number, problem(fields))
        elif fields.get(":status") != "200":
            self.cancel(number, problem(fields) or Failed(UNKNOWN, "the answer is none of gRPC"))

    def _end(self, number: int, problem: Failed | None) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._blocked.pop(number, None)
            stream.receiver.ended(problem)

    def _reset(self, _flags: int, number: int, payload: bytes) -> None:
        code = _number(payload, 0)
        text = f"the stream was reset with code {code}"
        self._end(number, Failed(UNAVAILABLE, text, untouched=code == frames.REFUSED))

    def _settings(self, flags: int, _number: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        if len(payload) % frames.SETTING.size:
            raise Malformed("cannot read settings: they end too early")
        for name, value in frames.SETTING.iter_unpack(payload):
            if name == frames.FIRST_WINDOW:
                for stream in self._streams.values():
                    stream.window += value - self._first_window
                self._first_window = value
            elif name == frames.FRAME_SIZE:
                self._frame = value
        self._write(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self._drain()

    def _ping(self, flags: int, _number: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._idly(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _goaway(self, _flags: int, _stream: int, payload: bytes) -> None:
        self.leaving = True
        last = _number(payload, 0)
        why = payload[8:].decode(errors="replace") or "no reason given"
        for number in [number for number in self._streams if number > last]:
            self._end(number, Failed(UNAVAILABLE, f"the server goes away: {why}", untouched=True))

    def _more(self, _flags: int, number: int, payload: bytes) -> None:
        more = _number(payload, 0)
        if not number:
            self._window += more
        elif (stream := self._streams.get(number)) is not None:
            stream.window += more
        self._drain()

    def _wait(self, number: int, stream: _Stream, data: bytes, *, ends: bool) -> None:
        stream.unsent += data
        stream.ends = ends
        self._blocked[number] = stream
        self._drain()

    def _drain(self) -> None:
        """Send what waits, as far as the windows allow."""
        for number, stream in tuple(self._blocked.items()):
            while stream.unsent:
                size = min(len(stream.unsent), self._frame, self._window, stream.window)
                if size <= 0:
                    break
                part, stream.unsent = stream.unsent[:size], stream.unsent[size:]
                self._window -= size
                stream.window -= size
                last = stream.ends and not stream.unsent
                self._write(frames.frame(frames.DATA, frames.END_STREAM if last else 0, number, part))
            if not stream.unsent:
                del self._blocked[number]


def _messages(stream: _Stream, buffer: bytes | bytearray) -> None:
    """Hand over the whole messages at the head of what was received, and keep the rest."""
    at, wanted = 0, 5
    while len(buffer) - at >= 5:
        compressed, length = frames.MESSAGE.unpack_from(buffer, at)
        if compressed:
            raise Malformed("cannot read a message: it is compressed, which was not asked for")
        wanted = 5 + length
        if at + wanted > len(buffer):
            break
        stream.receiver.message(bytes(buffer[at + 5 : at + wanted]))
        at, wanted = at + wanted, 5
    stream.wanted = wanted
    stream.buffer = bytearray(buffer[at:])


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise Malformed("cannot read a frame: there is more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def _number(payload: bytes, at: int) -> int:
    if len(payload) < at + 4:
        raise Malformed("cannot read a frame: it ends too early")
    found: int = frames.NUMBER.unpack_from(payload, at)[0]
    return found & frames.MOST_WINDOW
