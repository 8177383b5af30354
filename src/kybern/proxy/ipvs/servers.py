"""What the kernel's table of virtual servers has, or shall have. Pure.

A virtual server is an address, a protocol and a port; its real servers are the endpoints that answer. ``diff`` tells what
has to be done to a server; ``drained`` which of those that were taken out of service may go for good.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh")
PERSISTENT, HASHED, BY_PORT = (
    0x1,
    0x2,
    0x10,
)  # IP_VS_SVC_F_PERSISTENT, _HASHED, _SCHED_MH_PORT (linux/ip_vs.h)
IN_SERVICE, ENDING = 1, 0  # weights
# Nobody closes their connections, so their real servers go at once (upstream's IsRsGracefulTerminationNeeded).
AT_ONCE = ("UDP", "SCTP")


class Server(NamedTuple):
    ip: str
    protocol: str
    port: int

    def __str__(self) -> str:
        where = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{self.protocol} {where}:{self.port}"


class Real(NamedTuple):
    ip: str
    port: int


class Terms(NamedTuple):
    """How a server chooses. ``timeout`` is how long a client keeps its real server, in seconds, 0 for not at all."""

    scheduler: str
    timeout: int = 0

    @property
    def flags(self) -> int:
        return (PERSISTENT if self.timeout else 0) | (BY_PORT if self.scheduler == "mh" else 0)


@dataclass(frozen=True, slots=True)
class Held:
    """A real server as the kernel has it; ``connections`` counts those that are open and those that are ending."""

    weight: int = IN_SERVICE
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A virtual server as the kernel has it. ``flags`` without those that the kernel sets by itself."""

    terms: Terms
    flags: int
    reals: Mapping[Real, Held]

    @classmethod
    def made(cls, terms: Terms, reals: Iterable[Real]) -> "Found":
        """As it is once what was wanted has been sent."""
        return cls(terms, terms.flags, dict.fromkeys(reals, Held()))


@dataclass(frozen=True, slots=True)
class Wanted:
    terms: Terms
    reals: tuple[Real, ...]


class Command(IntEnum):
    """Numbers of IPVS' commands (linux/ip_vs.h)."""

    NEW_SERVICE = 1
    SET_SERVICE = 2
    DEL_SERVICE = 3
    NEW_DEST = 5
    SET_DEST = 6
    DEL_DEST = 7


class Change(NamedTuple):
    """One message to the kernel. ``terms`` only where a server is made or changed, ``real`` where it is about one."""

    command: Command
    server: Server
    terms: Terms | None = None
    real: Real | None = None
    weight: int = IN_SERVICE

    def __str__(self) -> str:
        where = f" to {self.real.ip} port {self.real.port}" if self.real else ""
        return f"{self.command.name} {self.server}{where}"


def diff(server: Server, found: Found | None, wanted: Wanted | None) -> Iterator[Change]:
    """From what the kernel has of a server to what it shall have.

    Who has a connection to a real server that is no longer wanted keeps it: such a one gets no new ones (weight 0), and
    stays until ``drained`` names it.
    """
    if wanted is None:
        if found is not None:
            yield Change(Command.DEL_SERVICE, server)
        return
    if found is None:
        yield Change(Command.NEW_SERVICE, server, wanted.terms)
    elif (found.terms, found.flags) != (wanted.terms, wanted.terms.flags):
        yield Change(Command.SET_SERVICE, server, wanted.terms)
    yield from _reals(server, found.reals if found else {}, wanted.reals)


def _reals(server: Server, held: Mapping[Real, Held], wanted: tuple[Real, ...]) -> Iterator[Change]:
    for real in wanted:
        if real not in held:
            yield Change(Command.NEW_DEST, server, real=real)
        elif held[real].weight != IN_SERVICE:
            yield Change(Command.SET_DEST, server, real=real)
    for real in sorted(held.keys() - set(wanted)):
        if server.protocol in AT_ONCE:
            yield Change(Command.DEL_DEST, server, real=real)
        elif held[real].weight != ENDING:
            yield Change(Command.SET_DEST, server, real=real, weight=ENDING)


def drained(server: Server, found: Found, ending: Iterable[Real]) -> Iterator[Change]:
    """Of those that end, the ones without connections, as upstream: also none that the kernel still waits to forget."""
    for real in sorted(ending):
        held = found.reals.get(real)
        if held is not None and held.weight == ENDING and not held.connections:
            yield Change(Command.DEL_DEST, server, real=real)
