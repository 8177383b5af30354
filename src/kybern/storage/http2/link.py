"""An HTTP/2 connection on asyncio: calls that end in time, and notice of a server that is silent.

All calls have the same time, so those that are to end first were begun first: one timer for all of them, instead of
one each. A server that says nothing is asked for a sign of life (PING) after ``_QUIET`` looks and is given up after one
more, as long as there is a call; etcd takes more frequent questions amiss.

What is written in one turn of the loop goes out together at its end: the system call for one small request costs more
than all else that is done here for it. etcd's estimate of the bandwidth asks for a sign of life as soon as it has the
last one and is sent something: that is answered ten times a second, or there would be one for each request.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

from kybern.storage.http2.connection import Connection
from kybern.storage.http2.failed import CANCELLED, DEADLINE_EXCEEDED, Failed
from kybern.storage.http2.hpack import Malformed

_LOOK_SECONDS, _QUIET = 3.0, 2
_SOON_SECONDS, _IDLE_SECONDS = 0.002, 0.1


class _Answer:
    """The receiver of a call with one answer."""

    __slots__ = ("future", "payload")

    lasting = False

    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self.future = future
        self.payload = b""

    def message(self, payload: bytes) -> None:
        self.payload = payload

    def ended(self, problem: Failed | None) -> None:
        if self.future.done():
            return
        if problem is None:
            self.future.set_result(self.payload)
        else:
            self.future.set_exception(problem)


class Stream:
    """A call that goes on in both directions; iterate over it for what the server says. Raises Failed."""

    lasting = True

    def __init__(self, link: "Link", head: bytes, payload: bytes) -> None:
        self._link = link
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._problem: Failed | None = None
        self._number = link.connection.open(head, payload, self)

    def message(self, payload: bytes) -> None:
        self._messages.append(payload)
        self._wake()

    def ended(self, problem: Failed | None) -> None:
        self._ended, self._problem = True, problem
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def send(self, payload: bytes) -> None:
        self._link.connection.send(self._number, payload)

    def cancel(self, why: str) -> None:
        """Those who iterate are told; nothing when it has ended."""
        self._link.connection.cancel(self._number, Failed(CANCELLED, why))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._messages:
                payload = self._messages.popleft()
                self._link.connection.used(self._number, len(payload) + 5)
                yield payload
            if self._ended:
                break
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._problem is not None:
            raise self._problem


class Link(asyncio.Protocol):
    """``seconds``: how long a call with one answer may take."""

    connection: Connection
    _transport: asyncio.Transport

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._flushing = False
        self._answers: list[bytes] = []
        self._ends: deque[tuple[float, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._heard = True
        self._silent = 0
        self.why = ""

    @property
    def usable(self) -> bool:
        return not self.connection.leaving

    def unary(self, head: bytes, payload: bytes) -> asyncio.Future[bytes]:
        """A call with one answer. The future raises Failed."""
        future: asyncio.Future[bytes] = self._loop.create_future()
        number = self.connection.open(head, payload, _Answer(future))
        self._ends.append((self._loop.time() + self._seconds, number))
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._expire)
        return future

    def close(self, why: str) -> None:
        self.why = self.why or why
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio
        self.connection = Connection(self._write, self._later, self._idly)
        self.connection.start()
        self._look = self._loop.call_later(_LOOK_SECONDS, self._listen)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self.connection.receive(data)
        except Malformed as problem:
            self.close(str(problem))
        if self.connection.leaving and not len(self.connection):
            self.close("the server has gone away")

    def connection_lost(self, problem: Exception | None) -> None:
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()
        why = self.why or str(problem or "") or "it was closed"
        self.connection.lost(f"connection to {self._name} lost: {why}")

    def _write(self, data: bytes) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def _later(self, data: bytes) -> None:
        """Goes along with what is written next, or soon."""
        if not self._unsent:
            self._loop.call_later(_SOON_SECONDS, self._flush)
        self._unsent.append(data)

    def _idly(self, data: bytes) -> None:
        """Goes after a while, whatever is written meanwhile."""
        if not self._answers:
            self._loop.call_later(_IDLE_SECONDS, self._answer)
        self._answers.append(data)

    def _answer(self) -> None:
        answers, self._answers = self._answers, []
        self._write(b"".join(answers))

    def _flush(self) -> None:
        self._flushing = False
        parts, self._unsent = self._unsent, []
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def _expire(self) -> None:
        """End the calls whose time is over; calls that have ended are passed over, and do not set the timer."""
        now = self._loop.time()
        self._timer = None
        while self._ends and (self._ends[0][0] <= now or self._ends[0][1] not in self.connection):
            _, number = self._ends.popleft()
            self.connection.cancel(number, Failed(DEADLINE_EXCEEDED, f"{self._name} did not answer in time"))
        if self._ends:
            self._timer = self._loop.call_at(self._ends[0][0], self._expire)

    def _listen(self) -> None:
        self._look = self._loop.call_later(_LOOK_SECONDS, self._listen)
        self._silent = 0 if self._heard or not len(self.connection) else self._silent + 1
        self._heard = False
        if self._silent == _QUIET:
            self.connection.ping()
        elif self._silent > _QUIET:
            self.close("it gives no sign of life")
