"""Waiting for a machine that was started, until it greets by SSH.

A kernel that is emulated, on a host that is busy, now and then stops for good on its way up: then its console says no
more, and only the power helps. That is done once. What the console said last is part of the error, since the machine
is often gone when somebody reads it.
"""

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from kybern.machines.errors import MachineError
from kybern.machines.topology import Machine

SSH = 22
CONNECT = 2.0
# An sshd of a slow machine needs seconds for its greeting. Who hangs up before it and asks again is one that does not
# authenticate, and from fifteen such on OpenSSH refuses him (PerSourcePenalties of sshd_config(5)), the longer the more
# he asks.
GREETING = 30.0
SILENCE = 120.0
"""Seconds without a word on the console, after which a machine that was started does not come up any more."""

type Said = Callable[[], bytes | None]
"""The end of what the machine's console said since its start; None where nobody writes that down."""


class Next(Enum):
    """What to do with a machine that does not answer yet."""

    WAIT = auto()
    START_AGAIN = auto()
    GIVE_UP = auto()


@dataclass(slots=True)
class Watch:
    """One machine on its way up. Times are seconds of any steady clock; ``deadline`` and ``since`` are such, too."""

    deadline: float
    since: float
    may_start_again: bool
    _said: bytes | None = field(default=None)

    def judge(self, now: float, said: bytes | None) -> Next:
        """What to do now that the console has ``said`` this."""
        if now > self.deadline:
            return Next.GIVE_UP
        if said != self._said:
            self._said, self.since = said, now
        if said is None or not self.may_start_again or now - self.since < SILENCE:
            return Next.WAIT
        self.may_start_again, self.since = False, now
        return Next.START_AGAIN


def answers(machine: Machine, within: float) -> bool:
    """An SSH server takes a connection there, and greets ``within`` seconds."""
    try:
        with socket.create_connection((str(machine.address), SSH), min(within, CONNECT)) as connection:
            connection.settimeout(within)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_for_ssh(
    machine: Machine, patience: float, said: Said = lambda: None, again: Callable[[], None] | None = None
) -> None:
    """Return when the machine greets; MachineError after ``patience`` seconds.

    ``again`` takes its power and gives it back, once, when its console is silent for long: only for a machine that was
    just started, since nothing else may be running on it.
    """
    began = time.monotonic()
    watch = Watch(began + patience, began, again is not None)
    while not answers(machine, GREETING):
        console = said()
        match watch.judge(time.monotonic(), console):
            case Next.GIVE_UP:
                last = f"its console said last: {last_words(console)}; " if console else ""
                raise MachineError(
                    f"{machine.name} does not answer by SSH at {machine.address} within {patience:.0f} s; {last}"
                    "look with 'kybern machines console'"
                )
            case Next.START_AGAIN if again:
                again()
        time.sleep(0.2)  # nothing tells when a machine's sshd begins to listen


def last_words(console: bytes, lines: int = 3) -> str:
    """The last lines of a console, without what moves the cursor or colours them."""
    text = re.sub(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()].|[=>78c])", "", console.decode(errors="replace"))
    found = ["".join(one for one in line if one.isprintable()).strip() for line in text.splitlines()]
    return " | ".join([line for line in found if line][-lines:])
