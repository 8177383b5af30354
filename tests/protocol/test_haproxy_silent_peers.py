"""What haproxy in front of the API servers does of peers that are gone without a word: a real one, with our file.

A peer is cut off while its connection is idle, and while something is on its way to it: keepalive is for the first alone.
"""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from dataclasses import field as with_default
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from kybern.daemon.self_signed import pair
from kybern.machines.topology import Cluster, Machine
from roles.templates import render
from tests.protocol.network_namespace import entered

pytestmark = [
    pytest.mark.netfilter,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("haproxy"), reason="needs root and haproxy"),
]
MARK = f"kyb-ha-{os.getpid()}"
FRONT, MASTER = "192.0.2.1", "198.51.100.2"
# Seconds after which a peer that is gone is noticed: the template's idle time and probes, with room for a slow machine.
OF_CLIENTS, OF_SERVERS = (20.0, 40.0), (10.0, 28.0)
CUT = "table inet cut {{ {} {} }}".format(
    *(f"chain {way} {{ type filter hook {way} priority 0; policy drop; }};" for way in ("input", "output"))
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


def within(name: str, *words: str) -> None:
    ip("netns", "exec", f"{MARK}-{name}", *words)


@pytest.fixture
def lines() -> Iterator[None]:
    """A client, haproxy's machine and a master, each in a namespace of its own."""
    names = ("client", "front", "back")
    try:
        for name in names:
            ip("netns", "add", f"{MARK}-{name}")
            within(name, "ip", "link", "set", "lo", "up")
        for name, here, there in (("client", "192.0.2.2", FRONT), ("back", MASTER, "198.51.100.1")):
            peer = ("peer", "name", "eth0", "netns", f"{MARK}-{name}")
            within("front", "ip", "link", "add", name, "type", "veth", *peer)
            within("front", "ip", "address", "add", f"{there}/24", "dev", name)
            within("front", "ip", "link", "set", name, "up")
            within(name, "ip", "address", "add", f"{here}/24", "dev", "eth0")
            within(name, "ip", "link", "set", "eth0", "up")
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", f"{MARK}-{name}"], check=False, timeout=30)


@dataclass
class Master:
    """Ready, and holds every connection that does not ask for that."""

    held: "asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]" = with_default(
        default_factory=asyncio.Queue
    )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readline()
        except OSError:
            first = b""
        if first.startswith(b"HOLD"):
            await self.held.put((reader, writer))
            return
        if first:
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()


def configured(folder: Path) -> Path:
    machines = (
        Machine("m1", IPv4Address(MASTER), frozenset({"etcd", "control-plane"})),
        Machine("w1", IPv4Address(FRONT), frozenset({"worker"})),
    )
    cluster = Cluster(
        name="x", network=IPv4Network("192.0.2.0/24"), gateway=IPv4Address(FRONT), vip=None, machines=machines
    )
    text = render(
        "loadbalancer/haproxy.cfg",
        cluster=cluster,
        machine=machines[1],
        bind=f"{FRONT}:6443",
        health="127.0.0.1:8404",
        authority=str(folder / "ca.crt"),
    ).decode()
    made = folder / "haproxy.cfg"
    made.write_text(text.replace("/run/haproxy/admin.sock", str(folder / "admin.sock")))
    return made


@dataclass(frozen=True)
class Held:
    """A connection through haproxy, with both of its ends."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    master: tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Bed:
    """haproxy between clients and one master."""

    folder: Path
    master: Master
    trust: ssl.SSLContext
    made: list[Held] = with_default(default_factory=list)

    async def hold(self) -> Held:
        async with asyncio.timeout(30):
            # It may not be there yet, or not have found the master ready.
            while not (found := await self._held()):
                await asyncio.sleep(0.2)
        self.made.append(found)
        return found

    async def _held(self) -> Held | None:
        with entered(f"{MARK}-client"):
            line = socket.socket()
        line.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(line, (FRONT, 6443))
            client = await asyncio.open_connection(sock=line, ssl=self.trust, server_hostname=MASTER)
        except OSError:
            line.close()
            return None
        client[1].write(b"HOLD\n")
        return Held(client, await asyncio.wait_for(self.master.held.get(), 5))

    async def never_looks(self) -> None:
        """What the health check finds is another matter: this is about connections."""
        reader, writer = await asyncio.open_unix_connection(self.folder / "admin.sock")
        writer.write(b"disable health api/m1\n")
        await reader.read()
        writer.close()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Bed]:
    certificate, key = pair([MASTER])
    (folder / "ca.crt").write_bytes(certificate)
    (folder / "tls.pem").write_bytes(certificate + key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "tls.pem")
    with entered(f"{MARK}-back"):
        at = socket.create_server((MASTER, 6443))
    bed = Bed(folder, Master(), ssl.create_default_context(cafile=folder / "ca.crt"))
    server = await asyncio.start_server(bed.master.serve, sock=at, ssl=serving)
    proxy = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", f"{MARK}-front", "haproxy", "-q", "-db", "-f", str(configured(folder))
    )
    try:
        yield bed
    finally:
        proxy.terminate()
        await proxy.wait()
        server.close()
        for one in bed.made:
            one.client[1].transport.abort()
            one.master[1].transport.abort()
        await asyncio.sleep(0)  # until they have


async def ended(reader: asyncio.StreamReader, sends: asyncio.StreamWriter | None = None) -> float:
    """Seconds until the connection ends at the reader's side; 60 for never. ``sends`` writes at its other end."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def send(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"event\n")
            await asyncio.sleep(1)

    sending = asyncio.create_task(send(sends)) if sends else None
    try:
        async with asyncio.timeout(60):
            while await reader.read(4096):
                pass
    except OSError:
        pass  # a reset is an end, too; and so is the time
    finally:
        if sending:
            sending.cancel()
    return loop.time() - began


async def test_peers_that_are_gone_without_a_word_are_noticed(lines: None, tmp_path: Path) -> None:
    async with running(tmp_path) as bed:
        idle, busy = await bed.hold(), await bed.hold()
        within("client", "nft", CUT)
        clients = await asyncio.gather(ended(idle.master[0]), ended(busy.master[0], sends=busy.master[1]))
        within("client", "nft", "delete table inet cut")

        idle, busy = await bed.hold(), await bed.hold()
        await bed.never_looks()
        within("back", "nft", CUT)
        servers = await asyncio.gather(ended(idle.client[0]), ended(busy.client[0], sends=busy.client[1]))

    print(f"seconds until noticed, idle and busy: clients {clients}, servers {servers}")  # noqa: T201
    assert all(OF_CLIENTS[0] < seconds < OF_CLIENTS[1] for seconds in clients), clients
    assert all(OF_SERVERS[0] < seconds < OF_SERVERS[1] for seconds in servers), servers
