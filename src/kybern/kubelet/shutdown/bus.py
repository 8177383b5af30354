"""A connection to a D-Bus daemon: calls with an answer, signals, and open files that come with them."""

import array
import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kybern.kubelet.shutdown import wire
from kybern.kubelet.shutdown.wire import Kind, Message

log = logging.getLogger(__name__)

SYSTEM = "/run/dbus/system_bus_socket"
_PATIENCE = 25.0
_CHUNK, _FILES = 65536, 16
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class BusFailure(Exception):
    """The bus, or who was asked by way of it, does not answer, or refuses; the message is its own."""


class Bus:
    """``signals`` gives what was subscribed to, and None at the end of the connection."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._serial = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._files: list[int] = []
        self.signals: asyncio.Queue[Message | None] = asyncio.Queue()

    async def call(
        self, whom: tuple[str, str, str], member: str, signature: str = "", *values: Any
    ) -> tuple[Any, ...]:
        """Ask a destination, an object of it, by an interface. A value of type h is an open file of the caller's.

        Raises BusFailure.
        """
        self._serial += 1
        destination, path, interface = whom
        asked = Message(
            Kind.CALL, self._serial, path, interface, member,
            destination=destination, signature=signature, body=values,
        )  # fmt: skip
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[asked.serial] = answer
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.get_running_loop().sock_sendall(self._link, wire.encode(asked))
                found = await answer
        except (OSError, TimeoutError) as problem:
            raise BusFailure(f"cannot ask {destination} for {member}: {problem or 'no answer'}") from problem
        finally:
            self._waiting.pop(asked.serial, None)
        if found.kind is Kind.ERROR:
            text = next((value for value in found.body if isinstance(value, str)), "")
            raise BusFailure(f"cannot ask {destination} for {member}: {found.error}: {text}")
        return found.body

    async def subscribe(self, rule: str) -> None:
        """Have signals that match a rule. Raises BusFailure."""
        await self.call(_BUS, "AddMatch", "s", rule)

    # -- the link --------------------------------------------------------------------------------------------------

    async def greet(self) -> None:
        """Say who we are, and take part. Raises BusFailure."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE):
                identity = str(os.getuid()).encode().hex()
                await self._handshake(f"\0AUTH EXTERNAL {identity}\r\n", b"OK ")
                await self._handshake("NEGOTIATE_UNIX_FD\r\n", b"AGREE_UNIX_FD")
                await loop.sock_sendall(self._link, b"BEGIN\r\n")
        except (OSError, TimeoutError) as problem:
            raise BusFailure(f"cannot greet the bus: {problem or 'no answer'}") from problem

    async def _handshake(self, text: str, wanted: bytes) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._link, text.encode())
        line = b""
        while not line.endswith(b"\r\n"):
            more = await loop.sock_recv(self._link, 256)
            if not more:
                raise BusFailure("cannot greet the bus: it closed the connection")
            line += more
        if not line.startswith(wanted):
            raise BusFailure(f"cannot greet the bus: {line.decode(errors='replace').strip()}")

    async def read(self) -> None:
        """Until the bus closes the connection."""
        data = b""
        try:
            while True:
                while len(data) >= wire.HEAD and len(data) >= wire.size(data[: wire.HEAD]):
                    length = wire.size(data[: wire.HEAD])
                    self._take(data[:length])
                    data = data[length:]
                more = await self._receive()
                if not more:
                    return
                data += more
        except (OSError, wire.BadMessage) as problem:
            log.warning("cannot read from the bus: %s", problem)
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(BusFailure("the bus closed the connection"))
            self.signals.put_nowait(None)

    async def _receive(self) -> bytes:
        """Asyncio has no receiving of open files."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()

        def tell() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self._link, tell)
        try:
            await ready
        finally:
            loop.remove_reader(self._link)
        space = socket.CMSG_SPACE(_FILES * array.array("i").itemsize)
        data, more, _flags, _address = self._link.recvmsg(_CHUNK, space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, found in more:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                files = array.array("i")
                files.frombytes(found[: len(found) - len(found) % files.itemsize])
                self._files += files
        return data

    def _take(self, data: bytes) -> None:
        found = wire.decode(data)
        files, self._files = self._files[: found.files], self._files[found.files :]
        if files:
            found = Message(
                found.kind, found.serial, reply_to=found.reply_to, signature=found.signature,
                body=_opened(found, files),
            )  # fmt: skip
        answer = self._waiting.get(found.reply_to)
        if found.kind is Kind.SIGNAL:
            self.signals.put_nowait(found)
        elif answer is not None and not answer.done():
            answer.set_result(found)
        else:
            for file in files:
                os.close(file)

    def close(self) -> None:
        self._link.close()
        for file in self._files:
            os.close(file)


def _opened(found: Message, files: list[int]) -> tuple[Any, ...]:
    """The body with our own numbers of the files; what logind sends has them at the top."""
    return tuple(
        files[value] if kind == "h" else value
        for kind, value in zip(found.signature, found.body, strict=False)
    )


@asynccontextmanager
async def connected(path: str = SYSTEM) -> AsyncIterator[Bus]:
    """Raises BusFailure."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.setblocking(False)
    bus = Bus(link)
    reading: asyncio.Task[None] | None = None
    try:
        try:
            await asyncio.get_running_loop().sock_connect(link, path)
        except OSError as problem:
            raise BusFailure(f"cannot connect to the bus at {path}: {problem.strerror}") from problem
        await bus.greet()
        reading = asyncio.ensure_future(bus.read())
        await bus.call(_BUS, "Hello")
        yield bus
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})
        bus.close()
