"""An OpenID Connect issuer of the tests' own: keys of every sort, tokens signed by them, and its documents over TLS."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kybern.auth.jose import encode

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: dict[str, tuple[str, ec.EllipticCurve, int]] = {
    "ES256": ("P-256", ec.SECP256R1(), 32),
    "ES384": ("P-384", ec.SECP384R1(), 48),
    "ES512": ("P-521", ec.SECP521R1(), 66),
}


@dataclass
class SigningKey:
    """A key for one algorithm, under a name."""

    algorithm: str
    id: str
    private: Any

    @classmethod
    def make(cls, algorithm: str = "ES256", id: str = "one") -> "SigningKey":  # noqa: A002  # JOSE's word
        if algorithm.startswith("ES"):
            return cls(algorithm, id, ec.generate_private_key(_CURVES[algorithm][1]))
        return cls(algorithm, id, rsa.generate_private_key(65537, 2048))

    def jwk(self) -> dict[str, Any]:
        numbers = self.private.public_key().public_numbers()
        head = {"kid": self.id, "use": "sig", "alg": self.algorithm}
        if self.algorithm.startswith("ES"):
            name, _, size = _CURVES[self.algorithm]
            x, y = (encode(part.to_bytes(size)) for part in (numbers.x, numbers.y))
            return head | {"kty": "EC", "crv": name, "x": x, "y": y}
        n, e = (encode(part.to_bytes((part.bit_length() + 7) // 8)) for part in (numbers.n, numbers.e))
        return head | {"kty": "RSA", "n": n, "e": e}

    def sign(self, data: bytes) -> bytes:
        digest = _HASHES[self.algorithm[2:]]
        if self.algorithm.startswith("ES"):
            size = _CURVES[self.algorithm][2]
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size) + s.to_bytes(size)
        if self.algorithm.startswith("PS"):
            scheme: Any = padding.PSS(padding.MGF1(digest), digest.digest_size)
        else:
            scheme = padding.PKCS1v15()
        signed: bytes = self.private.sign(data, scheme, digest)
        return signed

    def token(self, claims: dict[str, Any], **header: Any) -> str:
        head = {"alg": self.algorithm, "kid": self.id, **header}
        body = ".".join(encode(json.dumps(part).encode()) for part in (head, claims))
        return f"{body}.{encode(self.sign(body.encode()))}"


@dataclass
class Issuer:
    """Serves its documents; ``pages`` answers other paths by (code, body) of the request's Authorization header."""

    url: str
    server: ThreadingHTTPServer
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey.make()])
    asked: list[str] = field(default_factory=list)
    pages: dict[str, Callable[[str], tuple[int, bytes]]] = field(default_factory=dict)

    def token(self, **claims: Any) -> str:
        """A good one for the audience "kubernetes", but for what is said otherwise."""
        now = int(time.time())
        said = {"iss": self.url, "aud": "kubernetes", "sub": "jane", "iat": now, "exp": now + 600} | claims
        return self.keys[-1].token({key: value for key, value in said.items() if value is not None})

    def document(self, path: str, authorization: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path == "/keys":
            return 200, json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()
        return self.pages[path](authorization) if path in self.pages else (404, b"")

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def start(directory: Path, name: str) -> Issuer:
    """Serve with NAME.crt and NAME.key of a directory."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the library's name
            code, body = found.document(self.path, self.headers.get("Authorization", ""))
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    found = Issuer(f"https://127.0.0.1:{server.server_address[1]}", server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return found
