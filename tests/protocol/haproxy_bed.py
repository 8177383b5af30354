"""A real haproxy on loopback, kept at a world of Ingresses by the real code, and pods that say who they are."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kybern.daemon.self_signed import pair
from kybern.ingress.haproxy import Haproxy
from kybern.ingress.model import model
from kybern.ingress.render import Place, files
from tests.protocol.conftest import free_port
from tests.unit.ingress.making import endpoint, slice_of, world

type Answer = tuple[int, dict[str, str], str]  # status, headers in small letters, body


class Pod:
    """Answers every request with its name and the request as it came in; slowly, when the path says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for one in self._lines:
                one.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(writer)
        try:
            while head := await _head(reader):
                first, *lines = head.decode().split("\r\n")
                if "/slow" in first:
                    await asyncio.sleep(0.7)
                method, path, _ = first.split()
                said = {"pod": self.name, "method": method, "path": path, **dict(_pairs(lines))}
                body = json.dumps(said).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        except ConnectionError:
            pass  # the proxy went away
        finally:
            self._lines.discard(writer)
            writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n\r\n"))[:-4]
    except asyncio.IncompleteReadError:
        return b""


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


@dataclass
class Balancer:
    """``apply`` brings it to a world of objects; ``get`` asks it as a client."""

    folder: Path
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)
    health: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    def __post_init__(self) -> None:
        self.configurations = self.folder / "c"
        self.configurations.mkdir()
        self.haproxy = Haproxy(self.configurations, self.folder / "h.sock", self.folder / "m.sock")
        certificate, key = pair(["default.invalid"])
        self.place = Place(
            http=f"127.0.0.1:{self.http}",
            https=f"127.0.0.1:{self.https}",
            health=f"127.0.0.1:{self.health}",
            control=str(self.folder / "h.sock"),
            files=1000,
            default_certificate=(certificate + key).decode(),
        )

    async def apply(self, *objects: Any) -> str:
        digest, written = files(model(world(*objects)), self.place, str(self.configurations))
        configuration = self.haproxy.write(digest, written)
        await self.haproxy.check(configuration)
        self.haproxy.use(configuration)
        await self.haproxy.load(digest)
        self.haproxy.prune(digest)
        if self.process is None:
            await self.start()
        return digest

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            "haproxy", "-W", "-q", "-S", str(self.folder / "m.sock"), "-f", str(self.configurations / "haproxy.cfg"),
        )  # fmt: skip
        async with asyncio.timeout(10):
            while not await self.haproxy.running():
                assert self.process.returncode is None, "haproxy ended"
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 10)

    async def get(
        self, host: str, path: str, *, tls: bool | ssl.SSLContext = False, method: str = "GET", **headers: str
    ) -> Answer:
        """``tls`` may be the context to verify by; without one of its own the client believes everybody."""
        context = tls if isinstance(tls, ssl.SSLContext) else unverified() if tls else None
        port = self.https if tls else self.http
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=host if tls else None
            )
            try:
                more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
                writer.write(
                    f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode()
                )
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), dict(_pairs(lines)), body.decode()

    async def pod(self, host: str, path: str, *, tls: bool = False) -> str:
        """The name of the pod that answered; the status when none did."""
        status, _, body = await self.get(host, path, tls=tls)
        return str(json.loads(body)["pod"]) if status == 200 else str(status)


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def leading_to(name: str, *pods: Pod) -> Any:
    """The slice of a service whose endpoints are pods; all share an address, so each is a slice of its own port."""
    made = [slice_of(name, endpoint("127.0.0.1", ready=True), port=pod.port) for pod in pods]
    from kybern.machinery.struct import replace

    return [replace(one, metadata=replace(one.metadata, name=f"{name}-{at}")) for at, one in enumerate(made)]
