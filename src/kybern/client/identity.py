"""Who a client is: its certificate and its token, which may lie in files that others replace, the kubeconfig among them.

What holds: a changed file is in force ``LOOK_EVERY`` seconds later, and a request costs no look at a file otherwise. A
file that is being replaced keeps the old one in force.
"""

import base64
import contextlib
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kybern.client.kubeconfig import Config, load
from kybern.daemon.tls import client_context

LOOK_EVERY = 1.0

type Stamp = tuple[tuple[int, int], ...]


class _Files:
    """Whether files have changed, looked at no more often than it matters."""

    def __init__(self, paths: tuple[str, ...], clock: Callable[[], float]) -> None:
        self._paths = tuple(path for path in paths if path)
        self._clock = clock
        self._next = 0.0
        self._read: Stamp | None = None
        self._seen: Stamp = ()

    def changed(self) -> bool:
        """Whether they are others than ``noted`` was called for. Raises OSError."""
        if self._read is None or (self._paths and self._clock() >= self._next):
            stats = [Path(path).stat() for path in self._paths]
            self._seen = tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)
            self._next = self._clock() + LOOK_EVERY
        return self._seen != self._read

    def noted(self) -> None:
        """What they hold was taken over."""
        self._read = self._seen


class Identity:
    """The TLS context and the Authorization header of a config; both follow their files."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        # What is written into the kubeconfig changes with it.
        inside = config.source[0] if config.ca_data or config.cert_data else ""
        self._certificates = _Files((config.ca_file, config.cert_file, config.key_file, inside), clock)
        self._context: ssl.SSLContext | None = None
        self._tokens = _Files((config.token_file,), clock)
        self._token = config.token
        self._basic = ""
        if config.username:
            pair = f"{config.username}:{config.password}".encode()
            self._basic = "Basic " + base64.b64encode(pair).decode()

    def context(self) -> ssl.SSLContext | bool:
        """What connections are made with. Raises OSError and ssl.SSLError as long as there is none."""
        if not self._config.server.startswith("https"):
            return False
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._certificates.changed():
                if self._context is not None:
                    self._config = _renewed(self._config)
                self._context = self._made()
                self._certificates.noted()
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
        """The header; empty when the certificate says who we are."""
        config = self._config
        if config.token_file:
            with contextlib.suppress(OSError):
                if self._tokens.changed():
                    self._token = Path(config.token_file).read_text().strip()
                    self._tokens.noted()
        return f"Bearer {self._token}" if self._token else self._basic


def _renewed(config: Config) -> Config:
    """With the certificates that its kubeconfig has now; who it is and whom it asks stay. Raises OSError."""
    if not config.source[0]:
        return config
    found = load(*config.source)
    return replace(
        config,
        ca_data=found.ca_data if config.ca_data else b"",
        cert_data=found.cert_data if config.cert_data else b"",
        key_data=found.key_data if config.key_data else b"",
    )
