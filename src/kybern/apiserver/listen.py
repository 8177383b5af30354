"""The listener: TLS with certificates that may change, HTTP/1.1, and an end that lets requests finish."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from kybern.apiserver.config import Config
from kybern.apiserver.connection import Requests, Whole
from kybern.apiserver.received import MOST_BODY
from kybern.daemon import tls
from kybern.daemon.files import replace_file
from kybern.daemon.health import EVERYWHERE
from kybern.daemon.run import Fatal

type Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | Whole]]

_BACKLOG = 1024
_KEEPALIVE_SECONDS = 300.0
_FINISH_SECONDS = 2.0


class Listener:
    def __init__(self, config: Config, handler: Handler) -> None:
        self._config = config
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._requests: Requests | None = None

    async def start(self) -> None:
        """Listen. Raises Fatal for certificates that cannot be used, OSError for a port in use."""
        values = self._config.values
        loop = asyncio.get_running_loop()

        def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=MOST_BODY + 1
            )

        context = self._context()
        self._requests = Requests(
            cast("Any", self._handler),  # aiohttp knows nothing of answers that are whole
            request_factory=request,
            access_log=None,
            keepalive_timeout=_KEEPALIVE_SECONDS,
        )
        self._server = await loop.create_server(
            self._requests,
            None if values["bind-address"] in EVERYWHERE else values["bind-address"],
            values["secure-port"],
            ssl=context,
            backlog=_BACKLOG,
            reuse_address=True,
        )

    async def close(self) -> None:
        """Take no more connections, and give what is on its way a little time."""
        if self._server is not None:
            self._server.close()
        if self._requests is not None:
            self._requests.pre_shutdown()
            await self._requests.shutdown(_FINISH_SECONDS)

    def _context(self) -> ssl.SSLContext:
        values = self._config.values
        cert, key = values["tls-cert-file"], values["tls-private-key-file"]
        if not cert:
            names = (self._config.advertise, "localhost", "127.0.0.1", "kubernetes.default.svc")
            cert, key = tls.self_signed(names, Path(values["cert-dir"]))
        try:
            minimum = tls.minimum_version(values["tls-min-version"])
            return tls.server_context(
                cert, key, self._trusted(), minimum=minimum, ciphers=":".join(values["tls-cipher-suites"])
            )
        except (ssl.SSLError, ValueError) as problem:
            raise Fatal(f"kube-apiserver: cannot use {cert}: {problem}") from problem

    def _trusted(self) -> str:
        """The file of authorities for TLS; clients' and front proxies' ones in one when both are given."""
        values = self._config.values
        paths = [path for path in (values["client-ca-file"], values["requestheader-client-ca-file"]) if path]
        if len(paths) < 2 or paths[0] == paths[1]:
            return paths[0] if paths else ""
        joined = Path(values["cert-dir"]) / "client-authorities.crt"
        joined.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(joined, b"\n".join(Path(path).read_bytes() for path in paths))
        return str(joined)
