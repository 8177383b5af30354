"""logind: a lock that delays a shutdown, how long it may, and word of one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kybern.daemon.files import replace_file
from kybern.kubelet.shutdown.bus import SYSTEM, Bus, BusFailure, connected

_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_PROPERTIES = (*_LOGIND[:2], "org.freedesktop.DBus.Properties")
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_RULE = f"type='signal',interface='{_LOGIND[2]}',member='PrepareForShutdown',path='{_LOGIND[1]}'"
_HANGUP = 1
_DIRECTORY = Path("/etc/systemd/logind.conf.d")
_FILE = "99-kubelet.conf"
_TOLD = 10.0


class Logind:
    """Made by ``logind``; ``directory`` is where its settings lie."""

    def __init__(self, bus: Bus, directory: Path) -> None:
        self._bus = bus
        self._directory = directory
        self._lock: int | None = None

    async def longest(self) -> float:
        """Seconds for which a lock may delay a shutdown. Raises BusFailure."""
        (found,) = await self._bus.call(_PROPERTIES, "Get", "ss", _LOGIND[2], "InhibitDelayMaxUSec")
        return float(found) / 1_000_000

    async def allow(self, seconds: float) -> None:
        """Have logind wait as long as that, by a file of settings. Raises BusFailure when it will not."""
        if await self.longest() >= seconds:
            return
        await asyncio.to_thread(self._write, seconds)
        await self._bus.call(_SYSTEMD, "KillUnit", "ssi", "systemd-logind.service", "all", _HANGUP)
        limit = asyncio.get_running_loop().time() + _TOLD
        while (found := await self.longest()) < seconds:
            # It reads its settings when the signal reaches it; there is nothing else to wait for.
            if asyncio.get_running_loop().time() > limit:
                raise BusFailure(
                    f"node shutdown manager was unable to update logind InhibitDelayMaxSec to {seconds:g}s "
                    f"(ShutdownGracePeriod), current value of InhibitDelayMaxSec ({found:g}s) is less than "
                    "requested ShutdownGracePeriod"
                )
            await asyncio.sleep(0.1)

    def _write(self, seconds: float) -> None:
        text = f"# Kubelet logind override\n[Login]\nInhibitDelayMaxSec={seconds:.0f}\n"
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_file(self._directory / _FILE, text.encode(), 0o644)
        except OSError as problem:
            raise BusFailure(f"cannot write {self._directory / _FILE}: {problem.strerror}") from problem

    async def hold(self) -> None:
        """Take the lock, if it is not held. Raises BusFailure."""
        if self._lock is None:
            why = "Kubelet needs time to handle node shutdown"
            (self._lock,) = await self._bus.call(
                _LOGIND, "Inhibit", "ssss", "shutdown", "kubelet", why, "delay"
            )

    def release(self) -> None:
        """Let a shutdown go on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def listen(self) -> None:
        await self._bus.subscribe(_RULE)

    async def heard(self) -> bool:
        """The next word of logind: a shutdown begins, or is called off. Raises BusFailure at the end of the bus."""
        while (found := await self._bus.signals.get()) is not None:
            if found.member == "PrepareForShutdown" and found.body:
                return bool(found.body[0])
        raise BusFailure("the bus closed the connection")


@asynccontextmanager
async def logind(path: str = SYSTEM, directory: Path = _DIRECTORY) -> AsyncIterator[Logind]:
    """Raises BusFailure."""
    async with connected(path) as bus:
        found = Logind(bus, directory)
        try:
            yield found
        finally:
            found.release()
