"""How a daemon starts and ends.

What holds: SIGTERM and SIGINT cancel the main coroutine, whose clean-up runs before the process ends with code 0. What
an operator can mend (a port in use, a file that is not there, a wrong setting) ends with one line and code 1; anything
else is a bug, and shows its traceback.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from kybern.daemon import given_up

log = logging.getLogger(__name__)


class Fatal(Exception):
    """The daemon cannot go on, for a reason that its operator can mend. The message is one line."""


def ready(state: str = "READY=1") -> None:
    """Tell systemd that the daemon serves (sd_notify); nothing where no one asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), path)
        except OSError as problem:
            log.warning("cannot notify systemd: %s", problem)


def watchdog() -> float | None:
    """Seconds within which systemd wants to hear from this process again and again (WatchdogSec=); None: it does not."""
    told = os.environ.get("WATCHDOG_USEC", "")
    if (
        not told.isdigit()
        or int(told) == 0
        or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid())
    ):
        return None
    return int(told) / 1e6


async def alive(well: Callable[[], bool] = lambda: True) -> None:
    """Tell systemd that the daemon is well, as often as it asks for; belongs into a daemon's TaskGroup.

    A loop that hangs tells nothing, and neither does one that is not well: systemd starts the daemon again then.
    """
    within = watchdog()
    while within is not None:
        if well():
            ready("WATCHDOG=1")
        await asyncio.sleep(within / 2)


async def _until_told(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(given_up.handle)
    task = asyncio.ensure_future(main())
    told = False

    def stop(name: str) -> None:
        nonlocal told
        told = True
        log.info("Received %s, stopping", name)
        ready("STOPPING=1")
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise


def _operators(problem: BaseException) -> str:
    """One line when every part of the problem is something that an operator can mend; else nothing."""
    if isinstance(problem, BaseExceptionGroup):
        lines = [_operators(part) for part in problem.exceptions]
        return "; ".join(dict.fromkeys(lines)) if all(lines) else ""
    return str(problem) if isinstance(problem, Fatal | OSError) else ""


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a daemon to its end and leave the process with its exit code."""
    try:
        uvloop.run(_until_told(main))
    except (Exception, BaseExceptionGroup) as problem:
        line = _operators(problem)
        if not line:
            raise
        sys.stderr.write(f"{line}\n")
        sys.exit(1)
