"""Hands one request on to another server and its answer back, as both come.

What holds: bodies are passed as they arrive in both directions and never collected, but for a page whose links must lead
through the proxy; a client that goes away ends the request behind it; dialling has a limit in time, an answer has none,
since watches and logs last. A connection that stops being HTTP is passed on byte by byte (``daemon.upgrade``).
"""

import asyncio
import gzip
import logging
import ssl
import zlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.payload import AsyncIterablePayload
from yarl import URL

from kybern.apiserver.audit.begun import begun
from kybern.apiserver.passing import fields, links
from kybern.apiserver.passing.fields import Fields
from kybern.apiserver.passing.links import Origin
from kybern.apiserver.passing.places import encoded, host
from kybern.auth.certificates import ProxyHeaders
from kybern.daemon import upgrade
from kybern.daemon.dialling import refusal

log = logging.getLogger(__name__)

_DIAL = 30.0
_LOOK = 1.0
# Nobody reads it; it is what the metrics count.
_GONE = 499
_CODINGS = ("", "gzip", "deflate")
_IN_THREAD = 64 << 10
_UNTOUCHED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Unreached(Exception):
    """The other server cannot be reached, or what it answers is no HTTP."""


class NoUpgrade(Exception):
    """An answer to an upgrade that neither switches protocols nor refuses."""


def session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session that keeps connections and nothing of what passes."""
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_UNTOUCHED,
    )


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a request goes. ``path`` is decoded; ``prefix`` is what stands before it in our own paths.

    ``name`` is whom the backend's certificate must be for, where that is not the host. ``identity`` says which
    fields speak for users and are left out, ``added`` are fields of ours.
    """

    session: aiohttp.ClientSession
    tls: ssl.SSLContext
    scheme: str
    host: str
    port: int
    path: str
    prefix: str = ""
    name: str = ""
    identity: ProxyHeaders = field(default_factory=ProxyHeaders)
    added: Fields = field(default_factory=list)

    @property
    def where(self) -> str:
        return host(self.host, self.port)

    def url(self, query: str) -> str:
        shown = f"{self.scheme}://{self.where}{encoded(self.path)}"
        return f"{shown}?{query}" if query else shown


async def forward(request: web.BaseRequest, backend: Backend) -> web.StreamResponse:
    """Raises Unreached and NoUpgrade, before anything has been answered."""
    query = request.raw_path.partition("?")[2].partition("#")[0]
    upgrading = upgrade.wanted(request.headers)
    given = fields.asked(request.headers.items(), backend.identity, upgrade=upgrading)
    uri = encoded(backend.prefix + backend.path)
    sent = [*fields.forwarded(given, request.remote or "", uri), *backend.added]
    if upgrading:
        return await _switched(request, backend, query, sent)
    return await _while_there(request, _exchanged(request, backend, query, sent))


async def _while_there(
    request: web.BaseRequest, work: Coroutine[Any, Any, web.StreamResponse]
) -> web.StreamResponse:
    """Give up when the client has gone: a backend that says nothing would keep the request for ever."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait((task,), timeout=_LOOK)
            if not task.done() and (request.transport is None or request.transport.is_closing()):
                return web.Response(status=_GONE)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


async def _switched(
    request: web.BaseRequest, backend: Backend, query: str, sent: Fields
) -> web.StreamResponse:
    asked = upgrade.Asked(request.method, tuple(sent), request.headers.get("Host", ""), backend.name)
    try:
        answer = await upgrade.passed(backend.url(query), asked, backend.tls)
    except upgrade.Unreachable as problem:
        raise Unreached(str(problem)) from problem
    except upgrade.Refused as refused:
        if refused.status < 400:
            raise NoUpgrade(f"invalid upgrade response: status code {refused.status}") from refused
        return web.Response(status=refused.status, text=refused.text, content_type=refused.media)
    begun(request, 101)
    return await upgrade.pass_on(request, answer)


async def _exchanged(
    request: web.BaseRequest, backend: Backend, query: str, sent: Fields
) -> web.StreamResponse:
    asked = request.headers.get("Host", "")
    try:
        found = await backend.session.request(
            request.method,
            URL(backend.url(query), encoded=True),
            headers=[("Host", asked), *sent],
            data=_body(request) if request.can_read_body else None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_DIAL),
            server_hostname=backend.name or None,
        )
    except (aiohttp.ClientError, TimeoutError, ValueError) as problem:
        # ValueError: a field's value of more than one line, such as the name in some certificate.
        raise Unreached(refusal(problem, backend.host, backend.port)) from problem
    async with found:
        return await _answered(request, found, Origin(backend.prefix, backend.where, asked))


class _Once(AsyncIterablePayload):
    """A request's body. It is gone once it was sent, so a request with one is not repeated on another connection."""

    async def write_with_length(
        self, writer: aiohttp.abc.AbstractStreamWriter, content_length: int | None
    ) -> None:
        self._consumed = True
        await super().write_with_length(writer, content_length)


def _body(request: web.BaseRequest) -> _Once:
    return _Once(request.content.iter_any())


async def _answered(
    request: web.BaseRequest, found: aiohttp.ClientResponse, origin: Origin
) -> web.StreamResponse:
    given = fields.answered(_decoded(found))
    target = fields.first(given, "location")
    if target:
        given = [
            (name, links.link(target, origin) if name.lower() == "location" else value)
            for name, value in given
        ]
    bodiless = request.method == "HEAD" or found.status in (204, 304)
    if not target and not bodiless and origin.prefix and _is_page(given):
        return await _page(found, given, origin)
    response = web.StreamResponse(status=found.status, reason=found.reason, headers=given)
    try:
        begun(request, found.status)
        await response.prepare(request)
        async for part in found.content.iter_any():
            await response.write(part)
    except ConnectionResetError:
        return web.Response(status=_GONE)
    except aiohttp.ClientError as problem:
        # The client must not take what it has for the whole.
        log.info("The answer to %s %s ended too early: %s", request.method, request.path, problem)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=_GONE)
    return response


def _decoded(found: aiohttp.ClientResponse) -> Fields:
    return [
        (name.decode("latin-1"), value.decode("utf-8", "surrogateescape"))
        for name, value in found.raw_headers
    ]


def _is_page(given: Fields) -> bool:
    media = fields.first(given, "content-type").partition(";")[0].strip()
    return media == "text/html" and fields.first(given, "content-encoding") in _CODINGS


async def _page(found: aiohttp.ClientResponse, given: Fields, origin: Origin) -> web.Response:
    coding = fields.first(given, "content-encoding")
    try:
        body = await found.read()
    except aiohttp.ClientError as problem:
        raise Unreached(str(problem)) from problem
    if len(body) > _IN_THREAD:
        body = await asyncio.to_thread(_linked, body, coding, origin)
    else:
        body = _linked(body, coding, origin)
    rest = [(name, value) for name, value in given if name.lower() != "content-length"]
    return web.Response(status=found.status, reason=found.reason, headers=rest, body=body)


def _linked(body: bytes, coding: str, origin: Origin) -> bytes:
    try:
        plain = _unpacked(body, coding)
    except (OSError, EOFError, zlib.error):
        return body
    text = plain.decode("utf-8", "surrogateescape")
    new = links.page(text, lambda target: links.link(target, origin)).encode("utf-8", "surrogateescape")
    return body if new == plain else _packed(new, coding)


def _unpacked(body: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body, -zlib.MAX_WBITS) if coding == "deflate" else body


def _packed(body: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.compress(body)
    if coding == "deflate":
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return packer.compress(body) + packer.flush()
    return body
