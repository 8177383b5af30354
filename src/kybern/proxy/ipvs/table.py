"""The kernel's table of virtual servers, through netlink. Blocking: for a thread."""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import batched

from kybern.netfilter.programs import CannotApply
from kybern.proxy.ipvs import wire
from kybern.proxy.ipvs.servers import Change, Command, Found, Held, Real, Server, Terms

_GENERIC = 16  # NETLINK_GENERIC (linux/netlink.h)
_TIMEOUT = 10.0  # seconds for one answer; the kernel answers at once, if it has not to load a module first
_ROOM = 1 << 16  # bytes of one read
_AT_ONCE = 64  # messages sent before their answers are read: more would not fit into the socket's buffer
_GONE = (errno.ENOENT, errno.ESRCH)
# An address of the range for documentation, which upstream tries a scheduler with.
TRIAL = Server("198.51.100.0", "TCP", 20000)


class Table:
    """An open connection to it. Errors are told as CannotApply."""

    def __init__(self, kernel: socket.socket) -> None:
        self._kernel, self._sequence, self._family = kernel, 0, 0

    def open(self) -> None:
        """Learn the number of the family, which loads the module ip_vs where the kernel has it."""
        try:
            bodies = list(self._asked(wire.family_question))
            self._family = wire.family_number(bodies[0])
        except (OSError, KeyError, IndexError) as problem:
            raise CannotApply(
                "cannot use ipvs: this kernel has no virtual servers (no family IPVS); load the module ip_vs, "
                "or choose another proxy mode"
            ) from problem

    def servers(self) -> dict[Server, Found]:
        """All virtual servers, without their real ones. Those by firewall mark are somebody else's, and left out."""
        with _told("cannot list the virtual servers"):
            bodies = self._asked(lambda number: wire.servers_question(self._family, number))
            return dict(filter(None, map(wire.server_in, bodies)))

    def with_reals(self, servers: Iterable[tuple[Server, Found]]) -> dict[Server, Found]:
        """The same with their real servers."""
        return {server: replace(found, reals=self._reals(server)) for server, found in servers}

    def endings(self, servers: Iterable[Server]) -> dict[Server, Found]:
        """Real servers of some servers; whoever is gone is left out."""
        found = {}
        for server in servers:
            try:
                found[server] = Found(Terms(""), 0, self._reals(server))
            except CannotApply as problem:
                if not _is_gone(problem):
                    raise
        return found

    def apply(self, changes: Sequence[Change]) -> None:
        """Make changes one after the other. What goes may be gone already."""
        for some in batched(changes, _AT_ONCE):
            sent = {self._next(): change for change in some}
            with _told(f"cannot change the virtual servers ({some[0]} ...)"):
                self._kernel.sendall(b"".join(wire.change(self._family, n, one) for n, one in sent.items()))
                self._acknowledged(sent)

    def set_timeouts(self, tcp: float, tcp_fin: float, udp: float) -> None:
        """Seconds; 0 leaves one as it is."""
        if not (tcp or tcp_fin or udp):
            return
        with _told("cannot set the time-outs of connections to virtual servers"):
            list(self._asked(lambda n: wire.timeouts(self._family, n, int(tcp), int(tcp_fin), int(udp))))

    def try_scheduler(self, name: str) -> None:
        """Make a server that chooses so, and take it away again, as upstream's CanUseIPVSProxier."""
        try:
            self.apply([Change(Command.NEW_SERVICE, TRIAL, Terms(name))])
        except CannotApply as problem:
            raise CannotApply(
                f'cannot use ipvs with the scheduler "{name}": {problem.__cause__ or problem}; '
                f"load the module ip_vs_{name}, or choose another scheduler"
            ) from problem
        self.apply([Change(Command.DEL_SERVICE, TRIAL)])

    def _reals(self, server: Server) -> dict[Real, Held]:
        with _told(f"cannot list the real servers of {server}"):
            bodies = self._asked(lambda number: wire.reals_question(self._family, number, server))
            return dict(map(wire.real_in, bodies))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _asked(self, question: Callable[[int], bytes]) -> Iterator[bytes]:
        """The bodies of all answers to one question."""
        number = self._next()
        self._kernel.sendall(question(number))
        is_family = not self._family
        while True:
            for answer in wire.answers(self._kernel.recv(_ROOM)):
                if answer.sequence != number:
                    continue
                if answer.error:
                    raise OSError(answer.error, os.strerror(answer.error))
                if answer.is_last:
                    return
                yield answer.body
                if is_family:
                    return  # one answer, and no end of it

    def _acknowledged(self, sent: dict[int, Change]) -> None:
        while sent:
            for answer in wire.answers(self._kernel.recv(_ROOM)):
                if (change := sent.pop(answer.sequence, None)) is None or not answer.error:
                    continue
                if change.command in (Command.DEL_SERVICE, Command.DEL_DEST) and answer.error in _GONE:
                    continue
                raise OSError(answer.error, f"{change}: {os.strerror(answer.error)}")


@contextmanager
def table() -> Iterator[Table]:
    """Opened and closed again. Raises CannotApply where the kernel has no such table."""
    with _told("cannot use ipvs: no connection to the kernel"):
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _GENERIC)
    with kernel:
        kernel.settimeout(_TIMEOUT)
        kernel.bind((0, 0))
        found = Table(kernel)
        found.open()
        yield found


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise CannotApply(f"{what}: {problem.strerror or problem}") from problem


def _is_gone(problem: CannotApply) -> bool:
    return isinstance(problem.__cause__, OSError) and problem.__cause__.errno in _GONE
