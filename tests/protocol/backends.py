"""A network of the test's own, and small servers in it that say what they were asked.

The API server dials no loopback address, so these tests run in a network namespace which has another one. The thread that
made it is in it until the end, and so are programs that it starts.
"""

import http.server
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ADDRESS, OTHER = "198.51.100.10", "198.51.100.11"


@contextmanager
def network() -> Iterator[None]:
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        os.unshare(os.CLONE_NEWNET)
        for command in ("link set lo up", f"addr add {ADDRESS}/32 dev lo", f"addr add {OTHER}/32 dev lo"):
            subprocess.run(["ip", *command.split()], check=True, timeout=10)
        yield
    finally:
        os.setns(before, os.CLONE_NEWNET)
        os.close(before)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every method with what it saw; some paths have something special."""

    server: "Serving"
    protocol_version = "HTTP/1.1"
    name = ""

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        # What a path's own answer is called: on_some_path.
        special = getattr(self, "on" + path.replace("/", "_").removesuffix(".html"), None)
        if special is not None:
            special()
            return
        seen = {"name": self.name, "method": self.command, "path": self.path, "body": self.body().decode()}
        self.send(json.dumps(seen | {"headers": {k.lower(): v for k, v in self.headers.items()}}).encode())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(iter(self.chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def chunk(self) -> bytes:
        found = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return found

    def send(self, body: bytes, code: int = 200, **fields: str) -> None:
        self.send_response(code)
        for name, value in ({"Content_Type": "application/json"} | fields).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def on_page(self) -> None:
        page = b'<html><!-- <a href="/no"> --><a HREF="/there?x=1">\xe4</a><a href="near">&amp;</a></html>'
        self.send(page, Content_Type="text/html; charset=latin-1")

    def on_moved(self) -> None:
        self.send(b"", 302, Location="/elsewhere/")

    def on_refused(self) -> None:
        self.send(
            b"no tea", 418, Access_Control_Allow_Origin="*", Set_Cookie="a=b", Connection="X-Hop", X_Hop="1"
        )

    def on_slowly(self) -> None:
        """One line at once, the next one when the client has said something else meanwhile."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in (b"first\n", b"second\n"):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.wfile.flush()
            if line == b"first\n":
                self.server.gate.wait(10)
        self.wfile.write(b"0\r\n\r\n")

    def on_silent(self) -> None:
        """Nothing more after the head, until the client has gone."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        if self.rfile.read(1) == b"":
            self.server.left.set()
        self.close_connection = True

    def on_broken(self) -> None:
        """Less than was promised."""
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"some")
        self.close_connection = True

    def on_upgrade(self) -> None:
        """An echo, in a protocol of its own."""
        self.send_response(101)
        for name, value in (
            ("Upgrade", "echo"),
            ("Connection", "Upgrade"),
            ("X-Seen", self.headers["X-Own"]),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        while line := self.rfile.readline():
            self.wfile.write(line.upper())
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        return


class Serving(http.server.ThreadingHTTPServer):
    daemon_threads = True
    gate: threading.Event
    broken: threading.Event
    left: threading.Event
    odd: threading.Event
    asked: list[str]
    context: ssl.SSLContext

    def server_bind(self) -> None:
        # http.server's own asks a name server for the machine's name.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "test", self.server_address[1]


@contextmanager
def backend(
    name: str, address: str = ADDRESS, pair: Path | None = None, handler: type[Handler] = Handler
) -> Iterator[Serving]:
    """A server; with ``pair`` (a path without .crt and .key) it speaks TLS."""
    server = Serving((address, 0), type("Named", (handler,), {"name": name}))
    server.gate, server.broken, server.left = threading.Event(), threading.Event(), threading.Event()
    server.odd, server.asked = threading.Event(), []
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
        server.context = context
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
