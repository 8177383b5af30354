"""Connections to aggregated servers, each with this server's front-proxy certificate and the trust of one APIService.

What holds: a certificate of ours that changed on disk is shown by the next new connection; a request that is on its way
keeps the connection which it has, whatever changes meanwhile.
"""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from kybern.apiserver.aggregation.remote import Trust
from kybern.apiserver.passing.forward import session
from kybern.daemon import tls

_LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """A session and the context of its connections."""

    session: aiohttp.ClientSession
    context: ssl.SSLContext


class Lines:
    """``cert`` and ``key`` are files; empty: no certificate is shown."""

    def __init__(self, cert: str, key: str) -> None:
        self._files = (cert, key)
        self._stamp = self._stamped()
        self._looked = time.monotonic()
        self._lines: dict[Trust, Line] = {}
        self._old: list[Line] = []

    def of(self, trust: Trust) -> Line:
        """Raises OSError or ValueError (ssl.SSLError) for authorities or a certificate that cannot be used."""
        self._look()
        found = self._lines.get(trust)
        if found is None:
            context = tls.client_context(trust.authorities, *self._files, verify=trust.verify)
            found = self._lines[trust] = Line(session(context), context)
        return found

    def _stamped(self) -> tuple[int, ...]:
        return tuple(Path(path).stat().st_mtime_ns for path in self._files if path)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            self._old += self._lines.values()
            self._lines = {}

    async def close(self) -> None:
        for line in (*self._old, *self._lines.values()):
            await line.session.close()
