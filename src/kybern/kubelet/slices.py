"""The cgroups of pods as slices of systemd: made, limited and stopped by way of its D-Bus interface.

What holds: limits are told to systemd as well as written, or it would take them back when it loads its units again; a call
returns when systemd's job is done. Calls block, and are made in threads; the bus is read by the daemon's loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from kybern.kubelet.shutdown.bus import Bus, BusFailure, connected

_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_RULE = f"type='signal',interface='{_SYSTEMD[2]}',member='JobRemoved',path='{_SYSTEMD[1]}'"
_PATIENCE = 30.0
_EXISTS, _GONE = "org.freedesktop.systemd1.UnitExists", "org.freedesktop.systemd1.NoSuchUnit"
# systemd's way to say "no limit" in a number of 64 bits.
_ANY = (1 << 64) - 1

type Property = tuple[str, tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one slice. None leaves a value as it is; 0 is no limit. ``quota`` and ``period`` in microseconds."""

    weight: int | None = None
    shares: int | None = None
    quota: int | None = None
    period: int = 100_000
    memory: int | None = None
    pids: int | None = None


def begun(unit: str) -> tuple[Property, ...]:
    """With what a slice begins (libcontainer's systemd driver). Pure."""
    above = unit.removesuffix(".slice").rpartition("-")[0]
    accounting = ("MemoryAccounting", "CPUAccounting", "TasksAccounting")
    return (
        ("Description", ("s", f"libcontainer container {unit}")),
        ("Wants", ("as", [f"{above}.slice"] if above else ["-.slice"])),
        *((name, ("b", True)) for name in accounting),
        ("DefaultDependencies", ("b", False)),
    )


def told(limits: Limits, *, v2: bool) -> tuple[Property, ...]:
    """Limits in systemd's words, which differ by the version of cgroups. Pure."""
    return tuple(_told(limits, v2=v2))


def _told(limits: Limits, *, v2: bool) -> Iterator[Property]:
    if v2 and limits.weight is not None:
        yield "CPUWeight", ("t", limits.weight)
    if not v2 and limits.shares is not None:
        yield "CPUShares", ("t", limits.shares)
    if limits.quota is not None:
        # systemd counts for a second, and rounds to hundredths of a percent: upwards, so that nobody loses.
        second = limits.quota * 1_000_000 // limits.period
        yield "CPUQuotaPerSecUSec", ("t", -(-second // 10_000) * 10_000 if limits.quota else _ANY)
        if v2:
            yield "CPUQuotaPeriodUSec", ("t", limits.period)
    if limits.memory is not None:
        yield "MemoryMax" if v2 else "MemoryLimit", ("t", limits.memory or _ANY)
    if limits.pids is not None:
        yield "TasksMax", ("t", limits.pids or _ANY)


class Slices:
    """``loop`` reads the bus; ``connect`` opens a connection to it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connect: Callable[[], AbstractAsyncContextManager[Bus]] = connected,
    ) -> None:
        self._loop = loop
        self._connect = connect

    def start(self, unit: str) -> None:
        """Have a slice; one that is there stays as it is. Raises OSError."""
        self._wait(
            self._job(_EXISTS, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", begun(unit), ())
        )

    def limit(self, unit: str, limits: Limits, *, v2: bool) -> None:
        """Raises OSError."""
        self._wait(self._set(unit, told(limits, v2=v2)))

    def stop(self, unit: str) -> None:
        """Have a slice no more; one that is not there is no error. Raises OSError."""
        self._wait(self._job(_GONE, "StopUnit", "ss", unit, "replace"))

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            answer.result(_PATIENCE)
        except (BusFailure, TimeoutError) as problem:
            answer.cancel()
            raise OSError(f"systemd: {problem or 'no answer'}") from problem

    async def _set(self, unit: str, properties: tuple[Property, ...]) -> None:
        async with self._connect() as bus:
            await bus.call(_SYSTEMD, "SetUnitProperties", "sba(sv)", unit, True, properties)

    async def _job(self, fine: str, member: str, signature: str, *values: Any) -> None:
        """Ask for a job, and wait for its end. The error ``fine`` is none."""
        async with self._connect() as bus:
            await bus.subscribe(_RULE)
            await bus.call(_SYSTEMD, "Subscribe")
            try:
                (job,) = await bus.call(_SYSTEMD, member, signature, *values)
            except BusFailure as problem:
                if fine in str(problem):
                    return
                raise
            async for done, result in _ended(bus):
                if done != job:
                    continue
                if result != "done":
                    raise BusFailure(f"{member} of {values[0]} ended with {result}")
                return


async def _ended(bus: Bus) -> AsyncIterator[tuple[str, str]]:
    """Jobs that came to their end, with how. Raises BusFailure at the end of the bus."""
    while (found := await bus.signals.get()) is not None:
        if found.member == "JobRemoved":
            _number, job, _unit, result = found.body
            yield job, result
    raise BusFailure("the bus closed the connection")
