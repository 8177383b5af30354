"""WebSockets whose protocols no runtime speaks, brought onto the SPDY that all of them do.

- ``v5.channel.k8s.io`` carries a command's streams, the first byte of each message naming one; unlike its older versions it
  can say that a stream has ended, so a command sees the end of its input.
- ``SPDY/3.1+portforward.k8s.io`` is a tunnel: what its messages carry is SPDY already.

What holds: either side's end is the other one's; who cannot write makes the other side wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress

from aiohttp import WSMsgType, web

from kybern.daemon.spdy import Session

COMMAND = "v5.channel.k8s.io"
TUNNELS = ("SPDY/3.1+portforward.k8s.io", "v2.portforward.k8s.io")
# What is asked of the kubelet, or of the runtime.
COMMAND_STREAMS, TUNNEL_STREAMS = "v4.channel.k8s.io", "portforward.k8s.io"

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSED = 0, 1, 2, 3, 4, 255
_NAMES = {_STDIN: "stdin", _STDOUT: "stdout", _STDERR: "stderr"}
_IN, _OUT = frozenset((_STDIN, _RESIZE)), frozenset((_STDOUT, _STDERR, _ERROR))
_MOST = 16 << 20
_READ = 1 << 16
_CLOSING = 10.0

type Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def translated(offered: Collection[str], *, tunnel: bool) -> bool:
    """Whether a client offers what is brought onto SPDY here: a tunnel, or the streams of a command. Pure."""
    return any(one in offered for one in (TUNNELS if tunnel else (COMMAND,)))


def as_spdy(*, tunnel: bool) -> tuple[tuple[str, str], ...]:
    """The fields of the request for SPDY. Pure."""
    spoken = TUNNEL_STREAMS if tunnel else COMMAND_STREAMS
    return (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", spoken))


async def accepted(request: web.BaseRequest, protocols: Sequence[str]) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=protocols, compress=False, max_msg_size=_MOST, timeout=_CLOSING)
    await socket.prepare(request)
    return socket


async def tunnel(request: web.BaseRequest, streams: Streams) -> web.StreamResponse:
    """Pass what messages carry, both ways, until an end closes."""
    reader, writer = streams
    socket = await accepted(request, TUNNELS)

    async def inward() -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                writer.write(message.data)
                await writer.drain()

    async def outward() -> None:
        while part := await reader.read(_READ):
            await socket.send_bytes(part)

    await _both(inward, outward, socket)
    writer.close()
    return socket


async def command(request: web.BaseRequest, streams: Streams, wanted: frozenset[str]) -> web.StreamResponse:
    """Carry a command's streams; ``wanted`` are those of stdin, stdout, stderr, tty that the client asked for."""
    session = Session(*streams)
    socket = await accepted(request, (COMMAND,))
    there = {channel: await session.open({"streamType": name}) for channel, name in channels(wanted).items()}
    # Clients wait for a first message before they say that they are connected.
    await socket.send_bytes(bytes([min(there.keys() & _OUT)]))
    carried = _Command(socket, session, there)
    await _both(carried.inward, carried.outward, socket)
    session.close()
    return socket


def channels(wanted: Collection[str]) -> dict[int, str]:
    """The streams to open, by the channel of each. A terminal has no error output of its own. Pure."""
    terminal = "tty" in wanted
    found = {_ERROR: "error"}
    found |= {channel: name for channel, name in _NAMES.items() if name in wanted}
    if terminal:
        found.pop(_STDERR, None)
        found[_RESIZE] = "resize"
    return found


class _Command:
    """``there`` are the numbers of streams by channel."""

    def __init__(self, socket: web.WebSocketResponse, session: Session, there: Mapping[int, int]) -> None:
        self._socket = socket
        self._session = session
        self._there = there

    async def inward(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY and message.data:
                await self._said(message.data[0], message.data[1:])

    async def _said(self, channel: int, body: bytes) -> None:
        """One message of the client."""
        if channel == _CLOSED and body[:1] == bytes([_STDIN]) and _STDIN in self._there:
            await self._session.write(self._there[_STDIN], b"", last=True)
        elif channel in _IN and channel in self._there:
            await self._session.write(self._there[channel], body)

    async def outward(self) -> None:
        """Until all that can come has come."""
        here = {self._there[channel]: channel for channel in self._there.keys() & _OUT}
        going = set(here)
        async for stream, body, last in self._session.read():
            if body and stream in here:
                await self._socket.send_bytes(bytes([here[stream]]) + body)
            if last:
                going.discard(stream)
            if not going:
                return


async def _both(
    inward: Callable[[], Awaitable[None]],
    outward: Callable[[], Awaitable[None]],
    socket: web.WebSocketResponse,
) -> None:
    """Until one of them ends; then the other one does, too."""
    tasks = [asyncio.ensure_future(one()) for one in (inward, outward)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            with suppress(ConnectionError, ValueError):
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close()
