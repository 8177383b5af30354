"""The way to one server: connected when first needed, and again when the connection was lost.

Those who come while it is being made wait for the same one. After an attempt that failed everybody is told the same
for a moment, so that a server that is away is not asked by every request. Certificates are read for each connection.
"""

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from kybern.storage.http2.failed import UNAVAILABLE, Failed
from kybern.storage.http2.link import Link

_PAUSE = 0.2
_PORT = 2379


class Channel:
    """``context`` gives the TLS to use for a URL with https."""

    def __init__(self, url: str, context: Callable[[], ssl.SSLContext], seconds: float) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        self.url = url
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or _PORT
        self._context = context
        self._seconds = seconds
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link] | None = None
        self._problem = ""
        self._until = 0.0

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def link(self) -> Link | None:
        """The connection, when there is one that takes calls."""
        found = self._link
        return found if found is not None and found.usable else None

    async def connected(self) -> Link:
        """The connection, made anew when there is none. Raises Failed."""
        if self.link is not None:
            return self.link
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            raise _away(self._problem)
        if self._connecting is None:
            self._connecting = loop.create_task(self._connected())
        return await asyncio.shield(self._connecting)

    async def _connected(self) -> Link:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                self._link = found = await self._made()
        except (OSError, TimeoutError, ValueError) as error:
            why = str(error) or "no answer in time"
            self._problem, self._until = f"failed to connect to {self.authority}: {why}", loop.time() + _PAUSE
            raise _away(self._problem) from error
        else:
            return found
        finally:
            self._connecting = None

    async def _made(self) -> Link:
        loop = asyncio.get_running_loop()
        context = self._context() if self.secure else None
        if context is not None:
            context.set_alpn_protocols(["h2"])
        transport, link = await loop.create_connection(
            lambda: Link(self.authority, self._seconds), self.host, self.port, ssl=context
        )
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            transport.abort()
            raise ConnectionError("it does not speak HTTP/2")
        return link

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.close("this side is being stopped")


def _away(text: str) -> Failed:
    return Failed(UNAVAILABLE, text, untouched=True)
