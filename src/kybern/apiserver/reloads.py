"""Configuration in files that is read again when it changes: what metrics tell of it, and when it has changed.

The metrics are upstream's (``apiserver_NAME_config_controller_*``): how often a file was taken over or refused, and which
content is in force, as its digest. What several servers shall all have before the next step is waited for by the digest.
"""

import asyncio
import base64
import hashlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

EVERY = 1.0  # seconds


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def server() -> str:
    """This server's identity as upstream makes it of the host's name, digested."""
    name = hashlib.sha256(socket.gethostname().encode()).digest()[:16]
    identity = "apiserver-" + base64.b32encode(name).decode().rstrip("=").lower()
    return digest(identity.encode())


class Reloads(Collector):
    """Of one configuration, such as "encryption"."""

    def __init__(self, what: str) -> None:
        name = f"apiserver_{what}_config_controller"
        self._name, self._what = name, what
        self._reloads = Counter(
            f"{name}_automatic_reloads",
            f"Automatic reloads of the {what} configuration, by how they ended.",
            ("status", "apiserver_id_hash"),
        )
        self._last = Gauge(
            f"{name}_automatic_reload_last_timestamp_seconds",
            f"When the {what} configuration was last reloaded, or failed to be.",
            ("status", "apiserver_id_hash"),
        )
        self._digest = ""
        REGISTRY.register(self)

    def uses(self, content: bytes) -> None:
        """This content is in force."""
        self._digest = digest(content)

    def counted(self, status: str) -> None:
        """It was read again: "success" or "failure"."""
        self._reloads.labels(status, server()).inc()
        self._last.labels(status, server()).set_to_current_time()

    def collect(self) -> Iterator[Metric]:
        found = GaugeMetricFamily(
            f"{self._name}_last_config_info",
            f"The {self._what} configuration in force, as its digest.",
            labels=("apiserver_id_hash", "hash"),
        )
        if self._digest:
            found.add_metric((server(), self._digest), 1)
        yield found


type Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp:
    """Changes when the file does; raises OSError for a file that cannot be looked at, but not when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


class Followed:
    """A file and its content, as it was when somebody looked last. Raises OSError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = stamp(path)
        self.content = path.read_bytes()

    def changed(self) -> bool:
        """Whether the content is another one than before. Raises OSError."""
        now = stamp(self.path)
        if now == self._stamp:
            return False
        found = self.path.read_bytes()
        # Noted only now: a file that cannot be read this time is looked at again, though nobody touches it.
        self._stamp, before, self.content = now, self.content, found
        return found != before


def said(problem: Exception) -> str:
    """What went wrong with a file, without its name."""
    return (problem.strerror or str(problem)) if isinstance(problem, OSError) else str(problem)


LATER = 60.0
"""Seconds for which what a new configuration replaced is kept: requests under way may still use it."""


class Retired:
    """What was replaced, closed later."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Callable[[], Awaitable[None]]]] = []

    def add(self, close: Callable[[], Awaitable[None]]) -> None:
        self._waiting.append((asyncio.get_running_loop().time() + LATER, close))

    async def tend(self) -> None:
        """Close what has waited long enough."""
        now = asyncio.get_running_loop().time()
        while self._waiting and self._waiting[0][0] < now:
            await self._waiting.pop(0)[1]()

    async def close(self) -> None:
        while self._waiting:
            await self._waiting.pop(0)[1]()
