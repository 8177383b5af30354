"""A client's connection: aiohttp's, with a short way out, and with what TLS said of the client kept.

Nearly all answers are whole when they are sent: a status, a few headers, a body. Those leave as bytes in one write, past
the objects that aiohttp makes for each response. What must go another way (answers to old clients, or to those that
close after each) becomes a response of aiohttp's; streams and upgraded connections are such from the start.

Requests that came whole are answered in the connection's own task; aiohttp makes one more for each. The first request
that is anything else (its body is still coming, it asks for an upgrade, it cannot be read) is left to aiohttp, and with
it the rest of the connection.
"""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.http_exceptions import BadHttpMethod

from kybern.apiserver import negotiate, problems
from kybern.machinery import codec

log = logging.getLogger(__name__)

# The line of a request as aiohttp quotes it; other lines are no HTTP at all.
_REQUEST = re.compile(r"b'[A-Z]+ \S+ HTTP/1\.[01]")

type Headers = Sequence[tuple[str, str]]


class Whole:
    """An answer that is complete. ``headers`` are those beside Date and Content-Length."""

    __slots__ = ("body", "headers", "status")

    keep_alive = True

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def packed(self) -> bytes:
        """As it goes over the wire."""
        size = len(self.body)
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (
            _head(self.status, tuple(self.headers)),
            _date(int(time.time())),
            size,
            self.body,
        )

    def response(self) -> web.Response:
        """As aiohttp sends it."""
        return web.Response(body=self.body, status=self.status, headers=cast("Any", self.headers))


@lru_cache(maxsize=1024)
def _head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Status line and headers; few answers have headers of their own."""
    lines = [f"HTTP/1.1 {status} {_reason(status)}"]
    for name, value in headers:
        if "\r" in value or "\n" in value:
            raise ValueError(f"cannot send header {name}: {value!r} has more than one line")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, ""]).encode()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


class Connection(web.RequestHandler):
    """``peer`` is the client's certificate as DER; TLS has verified it."""

    __slots__ = ("peer",)

    def connection_made(self, transport: Any) -> None:
        tls = transport.get_extra_info("ssl_object")
        self.peer: bytes | None = tls.getpeercert(binary_form=True) if tls is not None else None
        super().connection_made(transport)

    async def start(self) -> None:
        """Answer what comes, until the end."""
        while not self._force_close:
            if not self._messages:
                try:
                    self._waiter = self._loop.create_future()
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages[0]
            if not isinstance(message, RawRequestMessage) or not payload.is_eof():
                break
            if message.upgrade or self._upgraded or self._buffer_paused:
                break
            self._messages.popleft()
            await self._answer(message, payload)
        if self._manager is not None:
            # A connection that is gone has none, and aiohttp's loop cannot begin without.
            await super().start()

    async def _answer(self, message: RawRequestMessage, payload: StreamReader) -> None:
        """One request; closes the connection when it was the last."""
        manager, parser, loop = self._manager, self._parser, self._loop
        if manager is None or parser is None:
            return
        parser.message_consumed()
        manager.requests_count += 1
        task = self._task_handler or asyncio.current_task()
        request = manager.request_factory(message, payload, self, StreamWriter(self, loop), cast("Any", task))
        try:
            response, gone = await self._handle_request(request, None, manager.request_handler)
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception as problem:
            if not isinstance(problem, ConnectionError):
                log.exception("%s %s failed", message.method, message.path)
            self.force_close()
            return
        if gone or self._close or not response.keep_alive:
            self.force_close()
            return
        self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be read. A method that HTTP does not know is told as any other that is not allowed.

        Who asks was not found out by then; the answer depends on nothing.
        """
        if not isinstance(exc, BadHttpMethod) or not _REQUEST.search(exc.message):
            return super().handle_error(request, status, exc, message)
        problem = problems.not_allowed()
        body, headers = codec.encode_json(problem.status()), {"Content-Type": negotiate.JSON}
        response = web.Response(body=body, status=problem.code, headers=headers)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: Any, start_time: float | None
    ) -> tuple[Any, bool]:
        """Send an answer; gives it, and whether the client has gone."""
        if not isinstance(resp, Whole):
            return await super().finish_response(request, resp, start_time)
        if request.writer.output_size:
            # It began as a stream and then failed: the client must not take this for a part of it.
            return resp, True
        if self._upgraded or not request.keep_alive or request.version != HttpVersion11:
            return await super().finish_response(request, resp.response(), start_time)
        if self.transport is None:
            return resp, True
        self.transport.write(resp.packed())
        if self.writing_paused:
            await self._drain_helper()
        return resp, False


class Requests(web.Server):
    """Makes the connections."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)
