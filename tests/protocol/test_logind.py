"""logind by way of a real bus: a dbus-daemon of our own, and a program on it that answers as logind does."""

import array
import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kybern.kubelet.shutdown import wire
from kybern.kubelet.shutdown.bus import Bus, BusFailure, connected
from kybern.kubelet.shutdown.logind import Logind, logind
from kybern.kubelet.shutdown.wire import Kind, Message
from kybern.kubelet.slices import Limits, Slices

pytestmark = pytest.mark.timeout(60)

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
"""


class FakeLogind:
    """Owns the names of logind and of systemd. ``locks`` are the other ends of those that were given."""

    def __init__(self, path: Path, settings: Path) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        self._settings = settings
        self._serial = 100
        self.longest = 5_000_000
        self.inhibited: list[tuple[object, ...]] = []
        self.locks: list[int] = []
        self.obeys = True
        self.units: list[tuple[str, str]] = []
        self.properties: dict[str, object] = {}
        self.named = asyncio.Event()

    async def run(self) -> None:
        self._link.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._link, str(self._path))
        await Bus(self._link).greet()
        await self._ask("Hello")
        for name in ("org.freedesktop.login1", "org.freedesktop.systemd1"):
            await self._ask("RequestName", "su", name, 4)
        self.named.set()
        data = b""
        while more := await loop.sock_recv(self._link, 65536):
            data += more
            while len(data) >= wire.HEAD and len(data) >= wire.size(data):
                length = wire.size(data)
                found, data = wire.decode(data[:length]), data[length:]
                if found.kind is Kind.CALL:
                    await self._answer(found)

    async def _ask(self, member: str, signature: str = "", *body: object) -> None:
        name = "org.freedesktop.DBus"
        await self._send(
            Kind.CALL, path="/org/freedesktop/DBus", interface=name, member=member, destination=name,
            signature=signature, body=body,
        )  # fmt: skip

    async def prepare(self, active: bool) -> None:
        """Say that a shutdown begins, or is called off."""
        where = "org.freedesktop.login1.Manager"
        await self._send(
            Kind.SIGNAL, path="/org/freedesktop/login1", interface=where, member="PrepareForShutdown",
            signature="b", body=(active,),
        )  # fmt: skip

    async def _answer(self, asked: Message) -> None:
        about: dict[str, Any] = {"reply_to": asked.serial, "destination": asked.sender}
        match asked.member:
            case "Get":
                assert asked.body == ("org.freedesktop.login1.Manager", "InhibitDelayMaxUSec")
                await self._send(Kind.ANSWER, signature="v", body=(("t", self.longest),), **about)
            case "Inhibit":
                self.inhibited.append(asked.body)
                mine, theirs = os.pipe()
                self.locks.append(mine)
                await self._send(Kind.ANSWER, files=theirs, signature="h", body=(0,), **about)
            case "KillUnit":
                assert asked.body == ("systemd-logind.service", "all", 1)
                if self.obeys:
                    seconds = self._settings.read_text().rpartition("InhibitDelayMaxSec=")[2]
                    self.longest = int(seconds) * 1_000_000
                await self._send(Kind.ANSWER, **about)
            case "Subscribe":
                await self._send(Kind.ANSWER, **about)
            case "StartTransientUnit" | "StopUnit":
                self.units.append((asked.member, asked.body[0]))
                await self._send(Kind.ANSWER, signature="o", body=("/job/1",), **about)
                await self._send(
                    Kind.SIGNAL, path="/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager",
                    member="JobRemoved", signature="uoss", body=(1, "/job/1", asked.body[0], "done"),
                )  # fmt: skip
            case "SetUnitProperties":
                self.properties = dict(asked.body[2])
                await self._send(Kind.ANSWER, **about)

    async def _send(self, kind: Kind, files: int = -1, **fields: Any) -> None:
        message = Message(kind, self._next(), files=int(files >= 0), **fields)
        if files < 0:
            await asyncio.get_running_loop().sock_sendall(self._link, wire.encode(message))
            return
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [files]))]
        self._link.sendmsg([wire.encode(message)], rights)
        os.close(files)

    def close(self) -> None:
        self._link.close()
        for lock in self.locks:
            os.close(lock)

    def _next(self) -> int:
        self._serial += 1
        return self._serial


@asynccontextmanager
async def bus_with_logind(at: Path) -> AsyncIterator[tuple[FakeLogind, str]]:
    path = at / "bus"
    (at / "bus.conf").write_text(_CONFIG.format(path=path))
    daemon = await asyncio.create_subprocess_exec(
        "dbus-daemon", f"--config-file={at / 'bus.conf'}", "--nofork", "--print-address",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert daemon.stdout is not None
    await asyncio.wait_for(daemon.stdout.readline(), 10)
    fake = FakeLogind(path, at / "99-kubelet.conf")
    task = asyncio.ensure_future(fake.run())
    await asyncio.wait_for(fake.named.wait(), 10)
    try:
        yield fake, str(path)
    finally:
        task.cancel()
        await asyncio.wait({task})
        fake.close()
        if daemon.returncode is None:
            daemon.terminate()
        await daemon.wait()


async def released(lock: int) -> bool:
    """Whether whoever has the other end closes it."""
    return await asyncio.wait_for(asyncio.to_thread(os.read, lock, 1), 10) == b""


async def test_the_lock_is_held_and_word_of_a_shutdown_arrives(tmp_path: Path) -> None:
    async with bus_with_logind(tmp_path) as (fake, path), logind(path, tmp_path) as found:
        assert await found.longest() == 5.0
        await found.listen()
        await found.hold()
        await fake.prepare(True)
        assert await asyncio.wait_for(found.heard(), 10) is True
        os.set_blocking(fake.locks[0], False)
        with pytest.raises(BlockingIOError):
            os.read(fake.locks[0], 1)
        os.set_blocking(fake.locks[0], True)
        found.release()
        assert await released(fake.locks[0])
        await fake.prepare(False)
        assert await asyncio.wait_for(found.heard(), 10) is False
        await found.hold()

        assert len(fake.locks) == 2
    why = "Kubelet needs time to handle node shutdown"
    assert fake.inhibited == [("shutdown", "kubelet", why, "delay")] * 2


async def test_logind_is_told_to_wait_longer_once(tmp_path: Path) -> None:
    async with bus_with_logind(tmp_path) as (fake, path), logind(path, tmp_path) as found:
        await found.allow(5.0)
        assert not (tmp_path / "99-kubelet.conf").exists()
        await found.allow(30.0)
        assert (tmp_path / "99-kubelet.conf").read_text() == (
            "# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=30\n"
        )
        assert fake.longest == 30_000_000


async def test_what_fails_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.kubelet.shutdown.logind._TOLD", 0.3)
    with pytest.raises(BusFailure, match="cannot connect to the bus at /nosuch"):
        async with logind("/nosuch", tmp_path):
            pass
    async with bus_with_logind(tmp_path) as (fake, path), connected(path) as bus:
        fake.obeys = False
        with pytest.raises(BusFailure, match=r"unable to update logind InhibitDelayMaxSec to 30s .* \(5s\)"):
            await Logind(bus, tmp_path).allow(30.0)
        with pytest.raises(
            BusFailure, match=r"ask no.such for Get: org.freedesktop.DBus.Error.ServiceUnknown"
        ):
            await bus.call(("no.such", "/", "no.such"), "Get")


async def test_slices_are_asked_for_in_words_that_a_bus_takes(tmp_path: Path) -> None:
    def work(slices: Slices) -> None:
        slices.start("kubepods.slice")
        slices.limit("kubepods.slice", Limits(weight=79, memory=1 << 30), v2=True)
        slices.stop("kubepods.slice")

    async with bus_with_logind(tmp_path) as (fake, path):
        await asyncio.to_thread(work, Slices(asyncio.get_running_loop(), lambda: connected(path)))

    assert fake.units == [("StartTransientUnit", "kubepods.slice"), ("StopUnit", "kubepods.slice")]
    assert fake.properties == {"CPUWeight": 79, "MemoryMax": 1 << 30}
