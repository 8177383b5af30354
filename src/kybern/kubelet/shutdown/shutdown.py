"""Watching for a shutdown of the machine, and ending its pods before it.

What holds: the lock is held from the kubelet's start, so that no shutdown passes it by; it is given up when the pods
have ended (nothing runs, volumes are away, and the API server knows if it answers) or their time is over, whatever
happens; a shutdown that is called off brings the lock back. When the last one began and ended is on disk, for the
metrics of the kubelet after the boot.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from prometheus_client import Gauge

from kybern.api.core_v1 import Pod
from kybern.daemon.files import replace_file
from kybern.kubelet.shutdown.bus import BusFailure
from kybern.kubelet.shutdown.groups import Group, Period, groups, verdict
from kybern.kubelet.status import Verdict
from kybern.kubelet.surroundings import Closing
from kybern.kubelet.voice import Voice

log = logging.getLogger(__name__)

FILE = "graceful_node_shutdown_state"
_AGAIN = 1.0
# Seconds for the last word on pods that have ended; it goes out while their volumes are taken away.
_TELLING = 2.0
_START = Gauge(
    "kubelet_graceful_shutdown_start_time_seconds",
    "Last graceful shutdown start time since unix epoch in seconds",
)
_END = Gauge(
    "kubelet_graceful_shutdown_end_time_seconds",
    "Last graceful shutdown end time since unix epoch in seconds",
)


class State(msgspec.Struct, rename="camel", omit_defaults=True):
    """Upstream's file of the last shutdown."""

    start_time: datetime | None = None
    end_time: datetime | None = None


_READS = msgspec.json.Decoder(State)


class Delay(Protocol):
    """``logind.Logind``, or its twin in tests. All but ``release`` raise BusFailure."""

    async def listen(self) -> None: ...

    async def allow(self, seconds: float) -> None: ...

    async def hold(self) -> None: ...

    async def heard(self) -> bool: ...

    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class World:
    """``pods`` that have not ended, ``end`` one of them.

    ``ended`` waits until nothing of a pod runs and its volumes are away, ``told`` until the API server knows; ``tell``
    has the node's status sent.
    """

    pods: Callable[[], Iterable[Pod]]
    end: Callable[[Pod, Verdict], None]
    ended: Callable[[Pod], Coroutine[Any, Any, None]]
    told: Callable[[Pod], Coroutine[Any, Any, None]]
    tell: Callable[[], None]
    voice: Voice
    closing: Closing


class Shutdown:
    """``run`` belongs into the daemon's TaskGroup; it has nothing to do without periods."""

    def __init__(
        self,
        configured: Sequence[Period],
        world: World,
        root: Path,
        connect: Callable[[], AbstractAsyncContextManager[Delay]],
    ) -> None:
        self._periods = configured
        self._world = world
        self._file = root / FILE
        self._connect = connect
        self.holding = asyncio.Event()

    async def run(self) -> None:
        if not self._periods:
            return
        _show(await asyncio.to_thread(_read, self._file))
        complained = ""
        while True:
            try:
                await self._watch()
            except BusFailure as problem:
                if str(problem) != complained:
                    log.warning("cannot watch for a shutdown of this node: %s", problem)
                complained = str(problem)
            self.holding.clear()
            await asyncio.sleep(_AGAIN)

    async def _watch(self) -> None:
        async with self._connect() as logind:
            await logind.listen()
            await logind.allow(sum(period.seconds for period in self._periods))
            await logind.hold()
            self.holding.set()
            work: asyncio.Task[None] | None = None
            try:
                async for begins in _words(logind):
                    if begins and work is not None and not work.done():
                        continue
                    await _stop(work)
                    self._say(begins)
                    work = asyncio.ensure_future(self._go_down(logind)) if begins else None
                    if not begins:
                        await logind.hold()
            except BusFailure:
                if work is not None:
                    # The lock is an open file, and holds without the bus.
                    await work
                raise
            finally:
                await _stop(work)

    def _say(self, begins: bool) -> None:
        what = "shutdown event" if begins else "shutdown cancellation"
        log.info("Shutdown manager detected %s", what)
        self._world.voice.node("Normal", "NodeShutdown", f"Shutdown manager detected {what}")
        self._world.closing.now = begins
        self._world.tell()

    async def _go_down(self, logind: Delay) -> None:
        state = State(start_time=datetime.now(UTC))
        try:
            await self._keep(state)
            for group in groups(self._periods, self._world.pods()):
                await self._end(group)
            state.end_time = datetime.now(UTC)
            await self._keep(state)
        finally:
            logind.release()

    async def _end(self, group: Group) -> None:
        since = time.monotonic()
        for pod in group.pods:
            self._world.end(pod, verdict(pod, group.seconds))
        late = await _within(group.seconds, group.pods, self._world.ended)
        took = time.monotonic() - since
        if late:
            log.warning(
                "%d of %d pods had not ended after %d seconds: %s",
                len(late), len(group.pods), group.seconds, ", ".join(map(_name, late)),
            )  # fmt: skip
            return
        log.info("%d pods ended in %.1f seconds", len(group.pods), took)
        # The API server may be in the next group. Where there is none that answers, the machine goes down all the same.
        await _within(min(_TELLING, group.seconds - took), group.pods, self._world.told)

    async def _keep(self, state: State) -> None:
        _show(state)
        try:
            await asyncio.to_thread(replace_file, self._file, msgspec.json.encode(state))
        except OSError as problem:
            log.warning("cannot write %s: %s", self._file, problem.strerror)


async def _within(
    seconds: float, pods: Iterable[Pod], work: Callable[[Pod], Coroutine[Any, Any, None]]
) -> list[Pod]:
    """Do some work for all pods at the same time. Those for which it was not done in time."""
    each = {asyncio.create_task(work(pod)): pod for pod in pods}
    try:
        done, late = await asyncio.wait(each, timeout=seconds)
        for task in done:
            task.result()
        return [pod for task, pod in each.items() if task in late]
    finally:
        for task in each:
            task.cancel()
        await asyncio.gather(*each, return_exceptions=True)


def _name(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


async def _words(logind: Delay) -> AsyncIterator[bool]:
    while True:
        yield await logind.heard()


async def _stop(work: asyncio.Task[None] | None) -> None:
    if work is not None:
        work.cancel()
        await asyncio.wait({work})
        if not work.cancelled():
            work.result()


def _show(state: State) -> None:
    for gauge, when in ((_START, state.start_time), (_END, state.end_time)):
        gauge.set(when.timestamp() if when is not None else 0)


def _read(file: Path) -> State:
    try:
        return _READS.decode(file.read_bytes())
    except FileNotFoundError:
        return State()
    except (OSError, msgspec.DecodeError) as problem:
        log.warning("cannot read %s: %s", file, problem)
        return State()
