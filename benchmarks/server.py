"""A kube-apiserver on an etcd of its own, both on loopback and both gone afterwards, and clients that load it."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from benchmarks.measure import Row, cpu_seconds
from kybern.auth.x509 import Authority, signing_key

CLIENTS = 16
START_SECONDS = 60
OPERATION_SECONDS = 60.0  # an operation stops after that, however many were asked for
ETCD_PLACES = (os.environ.get("KYBERN_ETCD", ""), str(Path.home() / ".cache/kybern/usr/bin/etcd"))

type Request = Callable[["Load", int], Awaitable[None]]


class CannotMeasure(Exception):
    """A program that is missing or that does not start; the message says which."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int
    directory: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        context.load_cert_chain(self.directory / "admin.crt", self.directory / "admin.key")
        return context


@dataclass(slots=True)
class Load:
    """Connections of one user, kept open, as many as there are clients."""

    server: Server
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        media: str = "application/json",
        accept: str = "*/*",
    ) -> bytes:
        headers = {"Accept": accept, **({"Content-Type": media} if body is not None else {})}
        async with self.session.request(method, self.server.url + path, data=body, headers=headers) as answer:
            content = await answer.read()
            if answer.status >= 400:
                raise CannotMeasure(f"{method} {path}: {answer.status} {content[:500]!r}")
            return content

    async def measure(self, operation: str, count: int, request: Request, clients: int = CLIENTS) -> Row:
        """``request`` for 0 to count-1, each number once, from all clients at once."""
        numbers = iter(range(count))
        took: list[float] = []
        ends = time.monotonic() + OPERATION_SECONDS

        async def client() -> None:
            for number in numbers:
                begun = time.perf_counter()
                await request(self, number)
                took.append(time.perf_counter() - begun)
                if time.monotonic() > ends:
                    return

        before = cpu_seconds(self.server.pid)
        await asyncio.gather(*(client() for _ in range(clients)))
        spent = cpu_seconds(self.server.pid) - before
        return Row(
            operation, spent * 1000 / len(took), middle=statistics.median(took) * 1000, count=len(took)
        )


@contextlib.asynccontextmanager
async def load(server: Server) -> AsyncIterator[Load]:
    connector = aiohttp.TCPConnector(ssl=server.context(), limit=0)
    patience = aiohttp.ClientTimeout(total=OPERATION_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
        yield Load(server, session)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kybern-benchmark-")))
        _certificates(directory)
        etcd, port = free_port(), free_port()
        stack.enter_context(process(_etcd(directory, etcd), directory / "etcd.log"))
        _wait(etcd, directory / "etcd.log")
        started = stack.enter_context(process(_apiserver(directory, etcd, port), directory / "server.log"))
        found = Server(f"https://127.0.0.1:{port}", started.pid, directory)
        _wait(port, directory / "server.log")
        yield found


def _certificates(directory: Path) -> None:
    authority = Authority.create("benchmark", datetime.now(UTC))
    (directory / "ca.crt").write_bytes(authority.cert_pem)
    (directory / "ca.key").write_bytes(authority.key_pem)
    pairs = {
        "server": authority.issue("kube-apiserver", ips=("127.0.0.1",), server=True, client=False),
        "admin": authority.issue("admin", ("system:masters",)),
        "sa": signing_key(),
    }
    for name, pair in pairs.items():
        (directory / f"{name}.crt").write_bytes(pair.cert_pem)
        (directory / f"{name}.key").write_bytes(pair.key_pem)


def _etcd(directory: Path, port: int) -> list[str]:
    program = next((place for place in ETCD_PLACES if place and Path(place).exists()), shutil.which("etcd"))
    if not program:
        raise CannotMeasure("etcd is missing: run scripts/fetch-etcd, or set KYBERN_ETCD")
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    return [
        program, "--name=one", f"--data-dir={directory}/etcd", "--log-level=error",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=one={peer}", "--unsafe-no-fsync",
    ]  # fmt: skip


def _apiserver(directory: Path, etcd: int, port: int) -> list[str]:
    return [
        str(Path(sys.executable).parent / "kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}", "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1",
        f"--tls-cert-file={directory}/server.crt", f"--tls-private-key-file={directory}/server.key",
        f"--client-ca-file={directory}/ca.crt", "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={directory}/sa.key",
        f"--service-account-signing-key-file={directory}/sa.key",
        "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC",
    ]  # fmt: skip


@contextlib.contextmanager
def process(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as stream:
        started = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise CannotMeasure(f"it did not start within {START_SECONDS} s:\n{log.read_text()[-2000:]}")
