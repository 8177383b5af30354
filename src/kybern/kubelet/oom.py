"""Tell of processes that the kernel killed because the whole machine had no memory left.

    /dev/kmsg ─> victim ─> event SystemOOM of the node

What holds: only what happens from now on is told, so that a kubelet which starts again does not tell of old kills as new
ones. A kill within a limit of memory is not told here: the container that it hit says so (``OOMKilled``). Upstream:
pkg/kubelet/oom; the line is ``dump_oom_summary`` of Linux, since 5.0.
"""

import asyncio
import errno
import logging
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from kybern.kubelet.voice import Voice

log = logging.getLogger(__name__)

_KERNEL_LOG = "/dev/kmsg"
_MOST = 8192
"""Bytes of a record; the kernel's are shorter."""
_KILL = re.compile(r"oom-kill:constraint=.*,global_oom,task_memcg=.*,task=(.*),pid=(\d+),uid=\d+")


class Victim(NamedTuple):
    """A process that was killed."""

    name: str
    pid: int


def victim(record: str) -> Victim | None:
    """Of a record of the kernel's log, None where it tells of something else. Pure."""
    found = _KILL.search(record)
    return Victim(found[1], int(found[2])) if found is not None else None


def _from_now_on() -> int:
    """The kernel's log, behind what is in it already. Raises OSError."""
    descriptor = os.open(_KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.lseek(descriptor, 0, os.SEEK_END)
    return descriptor


class OutOfMemory:
    """``run`` belongs into the daemon's TaskGroup. ``opened`` gives a descriptor of which each read is one record."""

    def __init__(self, voice: Voice, opened: Callable[[], int] = _from_now_on) -> None:
        self._voice = voice
        self._opened = opened

    async def run(self) -> None:
        """Ends, and says so, where there is no kernel's log that can be followed: in a container it may be anything."""
        try:
            descriptor = self._opened()
        except OSError as problem:
            _give_up(problem)
            return
        loop = asyncio.get_running_loop()
        try:
            await self._follow(loop, descriptor)
        except OSError as problem:
            _give_up(problem)
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def _follow(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        """Raises OSError when the log cannot be waited for or read, or has an end."""
        over = loop.create_future()

        def read() -> None:
            try:
                self._read(descriptor)
            except OSError as problem:
                loop.remove_reader(descriptor)
                if not over.done():
                    over.set_exception(problem)

        loop.add_reader(descriptor, read)
        await over

    def _read(self, descriptor: int) -> None:
        """All that there is."""
        while True:
            try:
                record = os.read(descriptor, _MOST)
            except BlockingIOError:
                return
            except BrokenPipeError:
                # The kernel wrote over what was not read yet: it goes on with what is there.
                continue
            if not record:
                raise OSError(errno.EPIPE, "it has an end")
            found = victim(record.decode(errors="replace"))
            if found is not None:
                text = f"System OOM encountered, victim process: {found.name}, pid: {found.pid}"
                self._voice.node("Warning", "SystemOOM", text)


def _give_up(problem: OSError) -> None:
    log.info("cannot tell when the machine has no memory left: %s: %s", _KERNEL_LOG, problem.strerror)
