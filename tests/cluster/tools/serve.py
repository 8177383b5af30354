"""Answers by HTTP and UDP with the pod's name or the asker's address. Runs in a pod, on the standard library.

serve.py HTTP_PORT[,HTTP_PORT...] [UDP_PORT] [LINES_PORT]

At LINES_PORT it answers each line, on connections that stay open until the client ends them.
"""

import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME = socket.gethostname()


def plain(address: str) -> str:
    """An address of IPv4 as itself, also where a socket for both versions of IP shows it."""
    return address.removeprefix("::ffff:")


class Both(ThreadingHTTPServer):
    """Listens for both versions of IP."""

    address_family = socket.AF_INET6
    request_queue_size = 128  # many ask at once where a machine was busy with something else

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Answer(BaseHTTPRequestHandler):
    """Of any method: what was asked for by the path."""

    def answer(self) -> None:
        """One request."""
        asked = urlsplit(self.path)
        body = {
            "/hostname": NAME,
            "/clientip": plain(self.client_address[0]),
            "/echo": parse_qs(asked.query).get("msg", [""])[0],
            "/port": str(self.connection.getsockname()[1]),
            "/method": self.command,
        }.get(asked.path, f"{self.command} {self.path}")
        if asked.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/hostname")
            body = ""
        else:
            self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: a test reads the log of others."""


for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
    setattr(Answer, f"do_{method}", Answer.answer)


def udp(port: int) -> None:
    """Answers each datagram until the process ends."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("", port))
        while True:
            asked, sender = server.recvfrom(4096)
            if asked.startswith(b"echo "):
                server.sendto(asked.removeprefix(b"echo "), sender)
                continue
            server.sendto({b"clientip": plain(sender[0]).encode()}.get(asked.strip(), NAME.encode()), sender)


class Lines(socketserver.StreamRequestHandler):
    """The pod's name for each line."""

    def handle(self) -> None:
        for _ in self.rfile:
            self.wfile.write(f"{NAME}\n".encode())


if __name__ == "__main__":
    for port in sys.argv[3:4]:
        talk = socketserver.ThreadingTCPServer(("", int(port)), Lines)
        threading.Thread(target=talk.serve_forever, daemon=True).start()
    for port in sys.argv[2:3]:
        threading.Thread(target=udp, args=(int(port),), daemon=True).start()
    servers = [Both(("", int(port)), Answer) for port in sys.argv[1].split(",")]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
