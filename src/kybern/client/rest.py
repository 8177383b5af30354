"""The client over the network: HTTP/1.1 with TLS, one pool of connections, and an eye on dead servers.

What holds: an API server that vanished without a word (its machine was switched off) is noticed within seconds, because
unanswered bytes and unanswered keep-alive probes end a connection after TCP_USER_TIMEOUT. Tokens and client
certificates in files are read again within a second after they change; new connections then use the new ones. A
connection is not used again after the server may have closed it, so that a write does not fail on one that was idle.
"""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, override

import aiohttp
import msgspec

from kybern.client.connections import Connections
from kybern.client.identity import Identity
from kybern.client.kubeconfig import Config
from kybern.client.verbs import JSON, PATIENCE, Verbs, error_of
from kybern.machinery.errors import ServiceUnavailable, Timeout

_CONNECT = 3.0
_IDLE = 20.0
_CONNECTIONS = 100


class Client(Verbs):
    """A connection to one API server, as an asynchronous context manager. ``clock`` gives seconds that only grow."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self._identity = Identity(config, clock)
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = Connections(limit=_CONNECTIONS, keepalive_timeout=_IDLE, ttl_dns_cache=30)
        self._opened = aiohttp.ClientSession(
            connector=connector, auto_decompress=True, headers={"User-Agent": self.config.user_agent}
        )
        return self

    async def __aexit__(self, *_problem: object) -> None:
        if self._opened is not None:
            await self._opened.close()

    def authorization(self) -> str:
        """What goes into the Authorization header; nothing when the certificate says who we are."""
        return self._identity.authorization()

    def tls(self) -> ssl.SSLContext | bool:
        """What other servers of the cluster are asked with: our certificate, and trust in its authority."""
        return self._identity.context()

    def _ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
        data: bytes | None = None,
    ) -> Any:
        assert self._opened is not None, "the client is used inside `async with`"
        if authorization := self.authorization():
            headers["Authorization"] = authorization
        return self._opened.request(
            method,
            self.config.server + path,
            data=data,
            headers=headers,
            timeout=timeout,
            ssl=self._identity.context(),
            server_hostname=self.config.server_name or None,
            allow_redirects=False,
        )

    @override
    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Any = None,
        timeout: float = PATIENCE,
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Accept": accept} if data is None else {"Accept": accept, "Content-Type": content_type}
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT)
        try:
            async with self._ask(method, path, headers, limits, data) as answer:
                content: bytes = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise _unreachable(self.config.server, problem) from problem
        if answer.status >= 300:
            raise error_of(answer.status, content)
        return content

    @override
    @asynccontextmanager
    async def stream(
        self, path: str, *, accept: str = JSON, silence: float = 90.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=silence)
        try:
            async with self._ask("GET", path, {"Accept": accept}, limits) as answer:
                if answer.status >= 300:
                    raise error_of(answer.status, await answer.read())
                yield answer.content.iter_any()
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise _unreachable(self.config.server, problem) from problem


def _unreachable(server: str, problem: BaseException) -> ServiceUnavailable | Timeout:
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return ServiceUnavailable(f"cannot trust {server}: {problem.certificate_error}")
    if isinstance(problem, aiohttp.ClientConnectorError):
        return ServiceUnavailable(f"cannot reach {server}: {problem.strerror or problem.os_error}")
    text = str(problem) or type(problem).__name__
    if isinstance(problem, TimeoutError):
        return Timeout(f"no answer from {server} in time: {text}")
    return ServiceUnavailable(f"cannot reach {server}: {text}")
