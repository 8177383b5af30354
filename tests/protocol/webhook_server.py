"""A webhook on loopback, over TLS, in a thread of the test: paths are answered by functions, and what came is kept."""

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

type Review = dict[str, Any]
type Answering = Callable[[Review], Any]


@dataclass
class Webhooks:
    """``answers`` by path; ``seen`` are the reviews that came, by path. A function may give bytes, or (code, bytes)."""

    url: str
    server: ThreadingHTTPServer
    answers: dict[str, Answering] = field(default_factory=dict)
    seen: dict[str, list[Review]] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def on(self, path: str, answer: Answering) -> str:
        """Answer a path; gives its URL."""
        self.answers[path] = answer
        self.seen[path] = []
        return f"{self.url}{path}"

    def requests(self, path: str) -> list[Review]:
        return [review["request"] for review in self.seen[path]]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def start(directory: Path, name: str) -> Webhooks:
    """Serve with NAME.crt and NAME.key of a directory."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # the library's name
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.partition("?")[0]
            found.seen.setdefault(path, []).append({**review, "path": self.path})
            answer = found.answers[path](review)
            code, body = answer if isinstance(answer, tuple) else (200, answer)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    found = Webhooks(f"https://127.0.0.1:{server.server_address[1]}", server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return found


def response(review: Review, *, allowed: bool = True, patch: Any = None, **more: Any) -> Review:
    """An AdmissionReview that answers one."""
    said: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": allowed, **more}
    if patch is not None:
        said |= {"patch": b64encode(json.dumps(patch).encode()).decode(), "patchType": "JSONPatch"}
    return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": said}


def allow(review: Review) -> Review:
    return response(review)


def deny(text: str, **status: Any) -> Answering:
    return lambda review: response(review, allowed=False, status={"message": text, **status})
