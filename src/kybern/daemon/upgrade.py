"""Connections that stop being HTTP: after a 101 answer, bytes go both ways until either end closes.

What holds: nothing of what passes is looked at or collected; who cannot write makes the other end stop reading; an end
that closes closes the other one, once what it sent is delivered; asking and waiting for the answer have a limit in time.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

from kybern.daemon.dialling import refusal

_HEAD, _BODY = 64 * 1024, 1 << 20
_DIAL, _ANSWER, _DELIVER = 10.0, 30.0, 30.0
_END = b"\r\n\r\n"
_PASSED = (
    "Connection",
    "Upgrade",
    "X-Stream-Protocol-Version",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "User-Agent",
)
_PROTOCOLS = "Sec-WebSocket-Protocol"
_BEARER = "base64url.bearer.authorization.k8s.io."


class Unreachable(Exception):
    """The other end cannot be asked, or does not answer."""


class Refused(Exception):
    """An answer other than 101."""

    def __init__(self, status: int, text: str, media: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.media = media


def wanted(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for another protocol. Pure."""
    return "upgrade" in headers.get("Connection", "").lower() and bool(headers.get("Upgrade"))


def protocols(headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The WebSocket subprotocols that a client offers; not its token, which travels among them. Pure."""
    given = [value for name, value in headers if name.lower() == _PROTOCOLS.lower()]
    offered = [part.strip() for value in given for part in value.split(",")]
    return tuple(part for part in offered if part and not part.startswith(_BEARER))


def request_head(method: str, target: str, host: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The request that passes an upgrade on, without what is between the client and us. Pure."""
    given = tuple(headers)
    names = {name.lower() for name in _PASSED}
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in given if name.lower() in names]
    offered = protocols(given)
    if offered:
        lines.append(f"{_PROTOCOLS}: {', '.join(offered)}")
    if method == "POST":
        lines.append("Content-Length: 0")
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace")


class End(asyncio.Protocol):
    """One end. Until it is joined with another one, it keeps what comes."""

    def __init__(self, http: asyncio.Protocol | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = loop.create_future()
        self._http = http
        self.peer: End | None = None
        self.kept = bytearray()
        self._more = asyncio.Event()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.write(data)
            return
        self.kept += data
        if len(self.kept) > _BODY:
            self.flow(False)
        self._more.set()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def flow(self, on: bool) -> None:  # a tap
        """Read on, or stop reading."""
        if self.transport is None or self.transport.is_closing():
            return
        if on:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.flow(False)

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.flow(True)

    def eof_received(self) -> bool:
        """The other side sends no more; where the protocol allows, it may still receive."""
        self.ended = True
        self._more.set()
        peer = self.peer
        if peer is None or peer.ended or peer.transport is None or not peer.transport.can_write_eof():
            return False
        peer.transport.write_eof()
        return True

    def connection_lost(self, problem: Exception | None) -> None:
        self.ended = True
        self._more.set()
        if not self.closed.done():
            self.closed.set_result(None)
        if self.peer is not None:
            self.peer.close()
        if self._http is not None:
            self._http.connection_lost(problem)

    def close(self) -> None:
        """Close once what was written is delivered."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def join(self, other: "End") -> None:
        """From now on each end's bytes are the other one's."""
        self.peer, other.peer = other, self
        for one, two in ((self, other), (other, self)):
            if one.kept:
                two.write(bytes(one.kept))
                one.kept.clear()
            one.flow(True)
            if one.ended:
                two.close()

    async def head(self) -> bytes:
        """Everything up to the empty line."""
        while _END not in self.kept:
            if self.ended or len(self.kept) > _HEAD:
                raise Unreachable("the connection was closed before an answer came")
            await self._came()
        head, _, rest = bytes(self.kept).partition(_END)
        self.kept[:] = rest
        return head + _END

    async def body(self, length: int | None) -> bytes:
        """So many bytes, or all until the end, and never more than a text needs."""
        most = _BODY if length is None else min(length, _BODY)
        while len(self.kept) < most and not self.ended:
            await self._came()
        return bytes(self.kept[:most])

    async def _came(self) -> None:
        self._more.clear()
        await self._more.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """A 101 answer: its head, and the end from which it came."""

    head: bytes
    end: End


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for an upgrade whose fields are passed on as they are; those of its protocols without tokens.

    ``name`` is whom the other end's certificate must be for, where that is not its host.
    """

    method: str
    fields: tuple[tuple[str, str], ...]
    host: str
    name: str = ""

    def head(self, target: str) -> bytes:
        """Raises Unreachable for a value that would become a field of its own. Pure."""
        for name, value in self.fields:
            if "\r" in value or "\n" in value:
                raise Unreachable(f"invalid header field value for {name!r}")
        apart = (_PROTOCOLS.lower(), "host")
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in self.fields if name.lower() not in apart]
        offered = protocols(self.fields)
        if offered:
            lines.append(f"{_PROTOCOLS}: {', '.join(offered)}")
        return "\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape")


async def ask(
    url: str, method: str, headers: Iterable[tuple[str, str]], tls: ssl.SSLContext | None
) -> Answer:
    """Ask for the upgrade that a client asks us for. Raises Refused or Unreachable."""
    parts = urlsplit(url)
    return await _answer(url, request_head(method, _target(parts), parts.netloc, headers), tls, "")


async def passed(url: str, asked: Asked, tls: ssl.SSLContext | None) -> Answer:
    """The same with all that a client says. Raises Refused or Unreachable."""
    return await _answer(url, asked.head(_target(urlsplit(url))), tls, asked.name)


def _target(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


async def _answer(url: str, request: bytes, tls: ssl.SSLContext | None, name: str) -> Answer:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    end = await _dialed(
        parts.hostname or "", parts.port or (443 if secure else 80), tls if secure else None, name
    )
    try:
        end.write(request)
        async with asyncio.timeout(_ANSWER):
            head = await end.head()
            status, fields = parse(head)
            if status != 101:
                length = fields.get("content-length", "")
                text = await end.body(int(length) if length.isdigit() else None)
                media = fields.get("content-type", "text/plain").partition(";")[0]
                raise Refused(status, text.decode("utf-8", "replace"), media)  # noqa: TRY301  # given up below
    except TimeoutError as problem:
        end.abort()
        raise Unreachable(f"no answer from {parts.netloc} within {_ANSWER:g} seconds") from problem
    except BaseException:
        end.abort()
        raise
    return Answer(head, end)


async def _dialed(host: str, port: int, tls: ssl.SSLContext | None, name: str) -> End:
    try:
        async with asyncio.timeout(_DIAL):
            loop = asyncio.get_running_loop()
            named = name or None
            return (await loop.create_connection(End, host, port, ssl=tls, server_hostname=named))[1]
    except (OSError, TimeoutError) as problem:
        raise Unreachable(refusal(problem, host, port)) from problem


def parse(head: bytes) -> tuple[int, dict[str, str]]:
    """The status and fields of an answer. Raises Unreachable for what is no HTTP. Pure."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise Unreachable("the answer is not HTTP")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def streams(answer: Answer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The other end to be read and written here, instead of being passed on."""
    transport = answer.end.transport
    assert transport is not None
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if answer.end.kept:
        reader.feed_data(bytes(answer.end.kept))
        answer.end.kept.clear()
    if answer.end.ended:
        reader.feed_eof()
    answer.end.flow(True)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class Passed(web.StreamResponse):
    """What a handler returns when the connection has been passed on: nothing may be written to it any more."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: web.BaseRequest) -> None:
        raise ConnectionResetError("the connection is HTTP no longer")


async def pass_on(request: web.BaseRequest, answer: Answer) -> Passed:
    """Give the client the answer and the connection; returns when both ends are closed."""
    transport = request.transport
    if transport is None:
        answer.end.abort()
        return Passed()
    client = End(request.protocol)
    transport.set_protocol(client)
    client.connection_made(transport)
    client.write(answer.head)
    client.join(answer.end)
    both = client.closed, answer.end.closed
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELIVER):
                await asyncio.wait(both)
    finally:
        client.abort()
        answer.end.abort()
    return Passed()
