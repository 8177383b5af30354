"""Holding a cluster's lock while a verb works on its machines: taken first, kept by a thread, given back at the end.

Also at Ctrl-C, and when a terminal or a supervisor ends the run. One that is killed leaves the lock to its expiry. Should
the lock be lost, because somebody broke it or because its machines were out of reach for too long, the run is interrupted:
two at once are worse than one that stops, which the same command finishes later.
"""

import asyncio
import getpass
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import typer

from kybern.machines import lock
from kybern.machines.errors import MachineError
from kybern.machines.lock import Answers, Claim
from kybern.machines.topology import Cluster
from kybern.reach.machines import Machines

BreakLock = Annotated[
    bool,
    typer.Option("--break-lock", help="Take the lock from a run that is dead, without waiting for its end."),
]
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def holding(cluster: Cluster, verb: str, breaking: bool = False) -> Iterator[None]:
    """Nobody else works on the cluster meanwhile. Raises MachineError when somebody does."""
    claim = Claim(secrets.token_hex(8), owner(verb))
    try:
        there = Machines(cluster)
        answers = asyncio.run(ask(there, lock.taking(claim, breaking)))
        if not answers.is_ours:
            raise MachineError(lock.refused(cluster.name, answers, there.silences))
        keeper = Keeper(cluster, claim)
        with ending_as_interrupts(), keeper:
            try:
                yield
            except KeyboardInterrupt:
                if keeper.lost:
                    raise MachineError(keeper.lost) from None
                raise
    finally:
        asyncio.run(ask(Machines(cluster), lock.releasing(claim)))


def owner(verb: str) -> str:
    """Who, where, and at what, as the other one is told."""
    now = datetime.now(UTC).strftime("%H:%M UTC")
    return f"{getpass.getuser()}@{socket.gethostname()} ({verb}, process {os.getpid()}, since {now})"


async def ask(there: Machines, script: str) -> Answers:
    """Run a script of the lock at once on all machines that keep it."""
    names = [machine.name for machine in there.cluster.members]
    said = await asyncio.gather(*(there.run(name, script, lock.WITHIN) for name in names))
    return lock.read(dict(zip(names, said, strict=True)))


class Keeper:
    """A thread that takes the lock anew while the run goes on, and interrupts the run when it cannot any more."""

    def __init__(self, cluster: Cluster, claim: Claim) -> None:
        self._there, self._claim = Machines(cluster), claim
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)
        self.lost = ""

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(lock.WITHIN * 2)

    def _keep(self) -> None:
        ends = time.monotonic() + lock.EXPIRES
        while not self._over.wait(lock.EVERY):
            began = time.monotonic()
            answers = asyncio.run(ask(self._there, lock.taking(self._claim)))
            if answers.is_ours:
                ends = began + lock.EXPIRES
            elif answers.is_another_s or time.monotonic() > ends:
                why = lock.refused(self._there.cluster.name, answers, self._there.silences)
                self.lost = f"stopped, because the lock was lost: {why}"
                if not self._over.is_set():
                    # Not SIGINT, which a shell's background commands ignore.
                    os.kill(os.getpid(), signal.SIGTERM)
                return


@contextmanager
def ending_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run as Ctrl-C does, which gives the lock back."""
    before = {number: signal.signal(number, _interrupt) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
