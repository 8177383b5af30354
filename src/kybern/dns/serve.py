"""The two doors: datagrams and connections (RFC 7766: several questions at a time, answers as they are ready).

A socket is drained up to BURST datagrams at a time, so that a busy one pays for one turn of the loop and not for each
datagram. More than OUTSTANDING questions that wait for other servers are answered with SERVFAIL at once; a connection
without a question for IDLE seconds is closed, and so is one that comes when there are CONNECTIONS already.
"""

import asyncio
import logging
import socket
import struct
import time
from dataclasses import dataclass

from kybern.dns import encode
from kybern.dns.answer import SERVFAIL
from kybern.dns.message import Question
from kybern.dns.respond import Responder

LOG = logging.getLogger(__name__)
BURST = 64
OUTSTANDING = 2000
PER_CONNECTION = 64
CONNECTIONS = 1000
IDLE = 10.0
BUFFER = 4 << 20  # bytes that the kernel keeps for us while the loop is busy


def bound(address: str, port: int) -> socket.socket:
    """A datagram socket. Answers leave from ``address``: a client takes none from another one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    try:
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


@dataclass(slots=True)
class Datagrams:
    """One socket's questions and answers."""

    socket: socket.socket
    responder: Responder
    tasks: asyncio.TaskGroup
    waiting: int = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.socket.fileno(), self.drain)
        try:
            await asyncio.Event().wait()
        finally:
            loop.remove_reader(self.socket.fileno())
            self.socket.close()

    def drain(self) -> None:
        for _ in range(BURST):
            try:
                data, peer = self.socket.recvfrom(4096)
            except BlockingIOError:
                return
            except (
                OSError
            ) as problem:  # the last answer could not be delivered, which is its client's business
                LOG.debug("an answer was refused: %s", problem)
                continue
            began = time.perf_counter()
            found = self.responder.at_once(data, "udp")
            if isinstance(found, bytes):
                self._send(found, peer)
                self.responder.counts.took(time.perf_counter() - began)
            elif self.waiting >= OUTSTANDING:
                self._send(encode.failure(found, SERVFAIL), peer)
            else:
                self.waiting += 1
                self.tasks.create_task(self._later(found, data, peer, began))

    async def _later(self, question: Question, data: bytes, peer: object, began: float) -> None:
        try:
            self._send(await self.responder.later(question, data, "udp"), peer)
        finally:
            self.waiting -= 1
            self.responder.counts.took(time.perf_counter() - began)

    def _send(self, answer: bytes, peer: object) -> None:
        if answer:
            try:
                self.socket.sendto(answer, peer)  # type: ignore[call-overload]  # an address as recvfrom gave it
            except (
                OSError
            ) as problem:  # a full buffer or no way back: UDP may lose what it likes, clients ask again
                LOG.debug("cannot answer %s: %s", peer, problem)


@dataclass(slots=True)
class Connections:
    """One address's connections."""

    address: str
    port: int
    responder: Responder
    tasks: asyncio.TaskGroup
    open: int = 0

    async def run(self) -> None:
        server = await asyncio.start_server(self._accept, self.address, self.port)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open >= CONNECTIONS:
            writer.close()
            return
        self.open += 1
        self.tasks.create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        room = asyncio.Semaphore(PER_CONNECTION)
        try:
            async with asyncio.TaskGroup() as answers:
                while data := await _next(reader):
                    async with asyncio.timeout(IDLE):  # a client that does not read is one that went away
                        await writer.drain()
                    began = time.perf_counter()
                    found = self.responder.at_once(data, "tcp")
                    if isinstance(found, bytes):
                        _write(writer, found)
                        self.responder.counts.took(time.perf_counter() - began)
                        continue
                    await room.acquire()
                    answers.create_task(self._later(found, data, writer, room, began))
        except* OSError as problem:
            LOG.debug("a client went away: %s", problem)
        finally:
            self.open -= 1
            writer.close()

    async def _later(
        self,
        question: Question,
        data: bytes,
        writer: asyncio.StreamWriter,
        room: asyncio.Semaphore,
        began: float,
    ) -> None:
        try:
            _write(writer, await self.responder.later(question, data, "tcp"))
        finally:
            room.release()
            self.responder.counts.took(time.perf_counter() - began)


async def _next(reader: asyncio.StreamReader) -> bytes:
    """The next question; nothing when there is none any more, or none in time."""
    try:
        async with asyncio.timeout(IDLE):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, TimeoutError, OSError):
        return b""


def _write(writer: asyncio.StreamWriter, answer: bytes) -> None:
    if answer and not writer.is_closing():
        writer.write(struct.pack("!H", len(answer)) + answer)
