"""What issuers publish: their discovery documents and keys, and claims that others hold for them, over HTTPS."""

import re
import ssl
from dataclasses import dataclass, field

import aiohttp

from kybern.client.connections import Connections
from kybern.daemon import tls

SECONDS = 30.0
_MOST = 4 << 20
_MAX_AGE = re.compile(r"max-age\s*=\s*\"?(\d+)")
_CONNECT = 5.0


class Unreachable(Exception):
    """What was asked for did not come; the text says why."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """``fresh``: seconds for which it may be taken to be the newest."""

    body: bytes
    fresh: float = 0.0


@dataclass(slots=True)
class Fetching:
    """Asks servers that ``authority`` (PEM; empty: the machine's) vouches for. Opened by ``start``."""

    authority: str = ""
    _context: ssl.SSLContext | None = field(default=None, init=False)
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    async def start(self) -> None:
        self._context = tls.client_context(self.authority.encode())
        self._session = aiohttp.ClientSession(
            connector=Connections(limit=20, keepalive_timeout=20.0), headers={"User-Agent": "kube-apiserver"}
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, bearer: str = "") -> Fetched:
        """Raises Unreachable, also for an answer that is no success."""
        assert self._session is not None and self._context is not None  # noqa: PT018  start() made both
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        limits = aiohttp.ClientTimeout(total=SECONDS, sock_connect=_CONNECT)
        try:
            async with self._session.get(url, headers=headers, timeout=limits, ssl=self._context) as answer:
                body = await answer.content.read(_MOST)
                while not answer.content.at_eof():
                    body += await answer.content.read(_MOST)
                    if len(body) > _MOST:
                        raise Unreachable(f"{url}: the answer is too large")
                if not 200 <= answer.status <= 226:
                    raise Unreachable(f"{url}: {answer.status} {answer.reason}: {body[:200]!r}")
                return Fetched(body, _fresh(answer.headers.get("Cache-Control", "")))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            raise Unreachable(f"{url}: {problem or type(problem).__name__}") from problem


def _fresh(control: str) -> float:
    """How long an answer with this Cache-Control need not be asked for again."""
    lower = control.lower()
    if "no-cache" in lower or "no-store" in lower:
        return 0.0
    found = _MAX_AGE.search(lower)
    return float(found[1]) if found else 0.0
