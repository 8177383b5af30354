"""One question to one other name server: by UDP, and again by TCP when the answer did not fit.

Each question has a socket, and so a port, of its own, and a random id: an answer counts when it comes from that server,
to that port, with that id and that question. Raises OSError, TimeoutError or Malformed.
"""

import asyncio
import secrets
import struct
import time
from dataclasses import dataclass
from typing import override

from kybern.dns.encode import query
from kybern.dns.message import HEADER, QR, TC, Malformed, Question, name_at
from kybern.dns.metrics import FORWARD_SECONDS, RCODES

PATIENCE = 2.0  # seconds for an answer
DEFAULT_PORT = 53


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """A name server by its address."""

    address: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


async def ask(server: Server, question: Question) -> bytes:
    """The whole answer of a server."""
    number, began = secrets.randbelow(65536), time.perf_counter()
    sent = query(number, question)
    async with asyncio.timeout(PATIENCE):
        found = await _by_udp(server, sent, question)
        if found[2] & TC >> 8:
            found = await _by_tcp(server, sent, question)
    code = RCODES.get(found[3] & 15, "other")
    FORWARD_SECONDS.labels("forward", str(server), code).observe(time.perf_counter() - began)
    return found


def fits(answer: bytes, sent: bytes, question: Question) -> bool:
    """Whether bytes that came in are an answer to what was sent."""
    if len(answer) < HEADER + len(question.section) or answer[:2] != sent[:2]:
        return False
    (flags,) = struct.unpack_from("!H", answer, 2)
    end = HEADER + len(question.section)
    if not flags & QR or answer[4:6] != b"\0\1" or answer[end - 4 : end] != question.section[-4:]:
        return False
    try:
        return name_at(answer, HEADER)[0] == question.name
    except Malformed:
        return False


class _Waiting(asyncio.DatagramProtocol):
    def __init__(self, sent: bytes, question: Question) -> None:
        self._sent, self._question = sent, question
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @override
    def datagram_received(self, data: bytes, addr: object) -> None:
        # What does not fit may be anybody's guess: the right one may still come.
        if not self.answer.done() and fits(data, self._sent, self._question):
            self.answer.set_result(data)

    @override
    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _by_udp(server: Server, sent: bytes, question: Question) -> bytes:
    transport, waiting = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Waiting(sent, question), remote_addr=(server.address, server.port)
    )
    try:
        transport.sendto(sent)
        return await waiting.answer
    finally:
        transport.close()


async def _by_tcp(server: Server, sent: bytes, question: Question) -> bytes:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        writer.write(struct.pack("!H", len(sent)) + sent)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        found = await reader.readexactly(length)
    except asyncio.IncompleteReadError as problem:
        raise Malformed("an answer that ended early") from problem
    finally:
        writer.close()
    if not fits(found, sent, question):
        raise Malformed("an answer to something else")
    return found
