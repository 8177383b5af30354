"""A key management plugin of the tests' own: a gRPC server on a unix socket whose keys are in memory, and may change."""

import os
import threading
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kybern._proto import kms_pb2 as pb
from kybern._proto import kms_pb2_grpc as rpc


@dataclass
class Vault:
    """Keys by their names, and which one is for writing. ``calls`` counts by method."""

    keys: dict[str, bytes] = field(default_factory=lambda: {"first": bytes(range(32))})
    current: str = "first"
    healthz: str = "ok"
    version: str = "v2"
    calls: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, name: str) -> None:
        """From now on another key is for writing; the old ones open what they sealed."""
        self.keys[name] = os.urandom(32)
        self.current = name

    def count(self, method: str) -> None:
        with self.lock:
            self.calls[method] = self.calls.get(method, 0) + 1

    def seal(self, plain: bytes) -> tuple[str, bytes, dict[str, bytes]]:
        """The key's name, the sealed seed, and annotations."""
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(self.keys[self.current]).encrypt(nonce, plain, None)
        return self.current, sealed, {"version.example.org": b"1"}

    def open(self, key: str, sealed: bytes) -> bytes:
        return AESGCM(self.keys[key]).decrypt(sealed[:12], sealed[12:], None)


class _Service(rpc.KeyManagementServiceServicer):  # type: ignore[misc]  # generated, without types
    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def Status(self, _request: Any, _context: Any) -> Any:  # noqa: N802  # the wire's name
        self._vault.count("Status")
        return pb.StatusResponse(
            version=self._vault.version, healthz=self._vault.healthz, key_id=self._vault.current
        )

    def Encrypt(self, request: Any, _context: Any) -> Any:  # noqa: N802  # the wire's name
        self._vault.count("Encrypt")
        name, sealed, annotations = self._vault.seal(request.plaintext)
        return pb.EncryptResponse(ciphertext=sealed, key_id=name, annotations=annotations)

    def Decrypt(self, request: Any, context: Any) -> Any:  # noqa: N802  # the wire's name
        self._vault.count("Decrypt")
        if request.key_id not in self._vault.keys or request.annotations["version.example.org"] != b"1":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such key")
        return pb.DecryptResponse(plaintext=self._vault.open(request.key_id, request.ciphertext))


@dataclass
class Plugin:
    """The server; ``stop`` and ``start`` to show what happens without it."""

    path: Path
    vault: Vault = field(default_factory=Vault)
    server: Any = None

    @property
    def endpoint(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> "Plugin":
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        rpc.add_KeyManagementServiceServicer_to_server(_Service(self.vault), self.server)
        self.server.add_insecure_port(f"unix:{self.path}")
        self.server.start()
        return self

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop(0).wait()
            self.server = None
