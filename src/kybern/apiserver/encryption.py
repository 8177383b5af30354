"""Encryption at rest: the file that ``--encryption-provider-config`` names, read at the start and again when it changes.

With ``--encryption-provider-config-automatic-reload`` the file's stamp is looked at once a second (upstream: once a
minute), and a new configuration takes over within the running server: no watch ends. One that cannot be used leaves the
old one in force. Which one is in force is told by upstream's metric, as the digest of the file: a rotation of keys waits
until every server tells the same.
"""

import asyncio
import base64
import hashlib
import logging
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kybern.daemon.run import Fatal
from kybern.machinery.kind import Kind
from kybern.storage.encryption.configuration import Configuration, Invalid, parse
from kybern.storage.encryption.values import Values

log = logging.getLogger(__name__)

FLAG = "encryption-provider-config"
EVERY = 1.0  # seconds
_MOVED = "events.k8s.io"  # its objects are kept as the core group's

_NAME = "apiserver_encryption_config_controller"
_reloads = Counter(
    f"{_NAME}_automatic_reloads",
    "Automatic reloads of the encryption configuration, by how they ended.",
    ("status", "apiserver_id_hash"),
)
_last = Gauge(
    f"{_NAME}_automatic_reload_last_timestamp_seconds",
    "When the encryption configuration was last reloaded, or failed to be.",
    ("status", "apiserver_id_hash"),
)


class _Info(Collector):
    """The digest of the configuration in force."""

    def __init__(self) -> None:
        self.digest = ""

    def collect(self) -> Iterator[Metric]:
        found = GaugeMetricFamily(
            f"{_NAME}_last_config_info",
            "The encryption configuration in force, as its digest.",
            labels=("apiserver_id_hash", "hash"),
        )
        if self.digest:
            found.add_metric((_server(), self.digest), 1)
        yield found


_info = _Info()
REGISTRY.register(_info)


def _server() -> str:
    """This server's identity as upstream makes it of the host's name, digested."""
    name = hashlib.sha256(socket.gethostname().encode()).digest()[:16]
    identity = "apiserver-" + base64.b32encode(name).decode().rstrip("=").lower()
    return digest(identity.encode())


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def resources(kinds: Iterable[Kind]) -> Mapping[str, tuple[str, str]]:
    """(group, resource) by the place in the store."""
    return {
        kind.storage: (kind.group, kind.plural) for kind in kinds if kind.storage and kind.group != _MOVED
    }


class Encryption:
    """The file, and the values that are sealed by it. Raises Fatal when it cannot be used at the start."""

    def __init__(self, path: Path, kinds: Iterable[Kind], root: str) -> None:
        self._path = path
        try:
            self._stamp = self._stamped()
            configuration = self._read()
        except (OSError, Invalid) as problem:
            raise Fatal(f"kube-apiserver: cannot use --{FLAG} {path}: {_said(problem)}") from problem
        self.values = Values(configuration, resources(kinds), root)

    async def run(self) -> None:
        """Follow the file, for ever."""
        while True:
            await asyncio.sleep(EVERY)
            self.look()

    def look(self) -> None:
        """Take over what the file says, if it has changed."""
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            configuration = self._read()
        except (OSError, Invalid) as problem:
            log.warning(
                "cannot use %s: %s; the configuration before it stays in force", self._path, _said(problem)
            )
            self._counted("failure")
            return
        self.values.use(configuration)
        self._counted("success")
        log.info("Reloaded the encryption configuration %s", self._path)

    def _read(self) -> Configuration:
        content = self._path.read_bytes()
        configuration = parse(content)
        _info.digest = digest(content)
        return configuration

    def _stamped(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _counted(self, status: str) -> None:
        _reloads.labels(status, _server()).inc()
        _last.labels(status, _server()).set_to_current_time()


def _said(problem: OSError | Invalid) -> str:
    return (problem.strerror or str(problem)) if isinstance(problem, OSError) else str(problem)
