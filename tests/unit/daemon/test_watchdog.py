"""What systemd hears of a daemon that is to tell it that it is well."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from kybern.daemon.run import alive, watchdog


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("2000000", "own", 2.0),
        ("2000000", "", 2.0),
        ("2000000", "1", None),
        ("0", "", None),
        ("", "", None),
        ("x", "", None),
    ],
)
def test_only_whom_systemd_means_tells(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)

    assert watchdog() == seconds


async def test_who_is_well_says_so_again_and_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "n"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        loop = asyncio.get_running_loop()
        well = [True, False, True]
        task = asyncio.create_task(alive(lambda: well.pop(0) if well else False))
        try:
            heard = [await asyncio.wait_for(loop.sock_recv(systemd, 100), 30) for _each in range(2)]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    assert heard == [b"WATCHDOG=1"] * 2
    assert well == []
