"""The name daemon of the tests' own, a name server behind it, and a client that others wrote (dnslib)."""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dnslib
import dnslib.server

from tests.protocol.apiserver_bed import Lab, Server


@dataclass
class Elsewhere:
    """A name server of the outside world: it knows ``lines`` and counts what it is asked."""

    port: int
    lines: tuple[str, ...]
    asked: list[str] = field(default_factory=list)
    silent: bool = False

    def resolve(self, request: dnslib.DNSRecord, _handler: Any) -> dnslib.DNSRecord:
        self.asked.append(str(request.q.qname))
        if self.silent:
            raise TimeoutError
        reply = request.reply()
        found = [
            one for line in self.lines for one in dnslib.RR.fromZone(line) if one.rname == request.q.qname
        ]
        reply.add_answer(*(one for one in found if one.rtype in (request.q.qtype, dnslib.QTYPE.CNAME)))
        if not reply.rr:
            reply.header.rcode = 0 if found else 3
            reply.add_auth(
                *dnslib.RR.fromZone("example.com. 60 SOA ns.example.com. me.example.com. 1 2 3 4 60")
            )
        return reply

    def start(self) -> Callable[[], None]:
        """Serve by UDP and TCP; the answer ends it."""
        quiet = dnslib.server.DNSLogger("-request,-reply,-truncated,-error,-recv,-send,-data")
        servers = [
            dnslib.server.DNSServer(self, address="127.0.0.1", port=self.port, tcp=tcp, logger=quiet)
            for tcp in (False, True)
        ]
        threads = [threading.Thread(target=one.server.serve_forever, daemon=True) for one in servers]
        for thread in threads:
            thread.start()

        def stop() -> None:
            for one in servers:
                one.server.shutdown()
                one.server.server_close()
            for thread in threads:
                thread.join(5)

        return stop


@dataclass
class Cache:
    """kybern-dns as a process, without an API server. ``ask`` gives the answers' values, sorted."""

    directory: Path
    port: int
    health: int
    process: "subprocess.Popen[bytes] | None" = None
    flags: tuple[str, ...] = ()

    def start(self, *flags: str) -> None:
        self.flags = flags
        self.again()

    def again(self) -> None:
        """With the flags of the last time."""
        program = [sys.executable, "-c", "from kybern.cli.dns import main; main()"]
        places = [
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--health-bind-address=127.0.0.1:{self.health}",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*program, *places, *self.flags], stdout=log, stderr=log)

    @property
    def log(self) -> Path:
        return self.directory / f"dns-{self.port}.log"

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(10) == 0, self.log.read_text()
            self.process = None

    def query(self, name: str, kind: str = "A", *, tcp: bool = False, size: int = 0) -> dnslib.DNSRecord:
        made = dnslib.DNSRecord.question(name, kind)
        if size:
            made.add_ar(dnslib.EDNS0(udp_len=size))
        return dnslib.DNSRecord.parse(made.send("127.0.0.1", self.port, tcp=tcp, timeout=8))

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
        return sorted(str(one.rdata) for one in self.query(name, kind, tcp=tcp).rr)

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process is None or self.process.poll() is None, self.log.read_text()
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def pipelined(self, questions: list[bytes]) -> list[bytes]:
        """Answers to several questions sent at once on one connection."""
        with socket.create_connection(("127.0.0.1", self.port), 8) as stream:
            stream.sendall(b"".join(struct.pack("!H", len(one)) + one for one in questions))
            with stream.makefile("rb") as file:
                return [file.read(struct.unpack("!H", file.read(2))[0]) for _ in questions]


class Daemon(Cache):
    """kybern-dns with the names of a cluster."""

    def __init__(self, lab: Lab, port: int, health: int) -> None:
        super().__init__(lab.directory, port, health)
        self.lab = lab

    def serve(self, server: Server, *more: str, identity: str = "admin") -> None:
        self.start(f"--kubeconfig={self.lab.kubeconfig(server, identity)}", *more)
