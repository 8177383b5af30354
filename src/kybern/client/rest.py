"""The client over the network: HTTP/1.1 with TLS, one pool of connections, and an eye on dead servers.

What holds: an API server that vanished without a word (its machine was switched off) is noticed within seconds, because
unanswered bytes and unanswered keep-alive probes end a connection after TCP_USER_TIMEOUT. Tokens and client
certificates in files are read again when they change; new connections then use the new ones. A connection is not used
again after the server may have closed it, so that a write does not fail on one that was idle.
"""

import base64
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, override

import aiohttp
import msgspec

from kybern.client.connections import Connections
from kybern.client.kubeconfig import Config
from kybern.client.verbs import JSON, PATIENCE, Verbs, error_of
from kybern.daemon.tls import client_context
from kybern.machinery.errors import ServiceUnavailable, Timeout

_CONNECT = 3.0
_IDLE = 20.0
_CONNECTIONS = 100


def _stamp(paths: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(Path(path).stat().st_mtime_ns for path in paths if path)


class _Identity:
    """The TLS context and the Authorization header of a config; both follow their files."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._files = (config.ca_file, config.cert_file, config.key_file)
        self._stamp: tuple[int, ...] = ()
        self._context: ssl.SSLContext | None = None
        self._token_stamp: tuple[int, ...] = ()
        self._token = config.token

    def context(self) -> ssl.SSLContext | bool:
        if not self._config.server.startswith("https"):
            return False
        with contextlib.suppress(OSError, ssl.SSLError):
            # Files that are being replaced keep the old context in force; without one, the error is told below.
            stamp = _stamp(self._files)
            if self._context is None or stamp != self._stamp:
                self._context, self._stamp = self._made(), stamp
        if self._context is None:
            self._context = self._made()
        return self._context

    def _made(self) -> ssl.SSLContext:
        config = self._config
        ca = config.ca_data or (Path(config.ca_file).read_bytes() if config.ca_file else b"")
        verify = not config.insecure
        if not config.cert_data:
            return client_context(ca, config.cert_file, config.key_file, verify=verify)
        # OpenSSL reads certificates from files only: these are gone before anyone else could look.
        with tempfile.TemporaryDirectory() as directory:
            cert, key = Path(directory, "cert"), Path(directory, "key")
            cert.write_bytes(config.cert_data)
            key.touch(mode=0o600)
            key.write_bytes(config.key_data or Path(config.key_file).read_bytes())
            return client_context(ca, str(cert), str(key), verify=verify)

    def authorization(self) -> str:
        config = self._config
        if config.token_file:
            with contextlib.suppress(OSError):
                stamp = _stamp((config.token_file,))
                if stamp != self._token_stamp:
                    self._token, self._token_stamp = Path(config.token_file).read_text().strip(), stamp
        if self._token:
            return f"Bearer {self._token}"
        if config.username:
            return "Basic " + base64.b64encode(f"{config.username}:{config.password}".encode()).decode()
        return ""


class Client(Verbs):
    """A connection to one API server, as an asynchronous context manager."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._identity = _Identity(config)
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
