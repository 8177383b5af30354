"""A connection to one hypervisor's libvirt is made when it is needed, and again when it broke. It only reads, unless told.

libvirt's calls block, and one may block for ever (a host that went away without a word). Each hypervisor has a thread of
its own; a call that takes too long is given up with its thread and its connection, and the next one begins anew.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import libvirt

from kybern.cloud.libvirt import domains
from kybern.cloud.libvirt.domains import Domain
from kybern.cloud.provider import CloudError

PATIENCE = 10.0  # seconds for a call
_STOPPED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTDOWN, libvirt.VIR_DOMAIN_CRASHED)


def _silent(_context: object, _error: object) -> None:
    """Libvirt prints every error by default, also those that are an answer."""


libvirt.registerErrorHandler(_silent, None)


class Hypervisor:
    """``writes``: it may change what is there; ``patience``: seconds for a call."""

    def __init__(self, name: str, uri: str, patience: float = PATIENCE, *, writes: bool = False) -> None:
        self.name = name
        self._uri = uri
        self._patience = patience
        self._writes = writes
        self._line = _Line(uri, writes)
        self._turn = asyncio.Lock()

    async def by_uuid(self, uuid: str) -> Domain | None:
        """The machine of this UUID. A domain of another's metadata, or of none, is no machine."""
        return await self.ask(lambda connection: _by_uuid(connection, uuid))

    async def all(self) -> tuple[Domain, ...]:
        return await self.ask(_all)

    async def close(self) -> None:
        self._line.abandon()

    async def ask[T](self, question: Callable[[Any], T]) -> T:
        """What a function of the connection says; raises CloudError, those of the function among them."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._patience):
                    return await asyncio.get_running_loop().run_in_executor(
                        self._line.thread, self._line.ask, question
                    )
            except TimeoutError as problem:
                self._renew()
                raise CloudError(
                    f"cannot ask {self.name}: no answer within {self._patience:.0f} s"
                ) from problem
            except libvirt.libvirtError as problem:
                if self._line.broken:
                    self._renew()
                raise CloudError(f"cannot ask {self.name}: {problem}") from problem

    def _renew(self) -> None:
        self._line.abandon()
        self._line = _Line(self._uri, self._writes)


class _Line:
    """One connection, and the only thread that uses it. ``broken``: it is of no use any more; an error may be an answer."""

    def __init__(self, uri: str, writes: bool) -> None:
        self._uri = uri
        self._open = libvirt.open if writes else libvirt.openReadOnly
        self._connection: Any = None
        self.broken = False
        self.thread = ThreadPoolExecutor(1, "libvirt")

    def ask[T](self, question: Callable[[Any], T]) -> T:
        if self._connection is None:
            self._connection = self._open(self._uri)
        try:
            return question(self._connection)
        except libvirt.libvirtError as problem:
            self.broken = _is_of_transport(problem) or not _is_alive(self._connection)
            raise

    def abandon(self) -> None:
        """Hang up, once the thread comes back from what it does, if ever."""
        self.thread.submit(self._hang_up)
        self.thread.shutdown(wait=False)

    def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.close()


def _by_uuid(connection: Any, uuid: str) -> Domain | None:
    try:
        return _domain(connection.lookupByUUIDString(uuid))
    except libvirt.libvirtError as problem:
        if _is_gone(problem):
            return None
        raise


def _all(connection: Any) -> tuple[Domain, ...]:
    found = []
    for one in connection.listAllDomains():
        try:
            found.append(_domain(one))
        except libvirt.libvirtError as problem:
            if not _is_gone(problem):
                raise
    return tuple(one for one in found if one is not None)


def _domain(found: Any) -> Domain | None:
    state, _reason = found.state()
    return domains.read(found.XMLDesc(0), running=state not in _STOPPED)


def _is_of_transport(problem: libvirt.libvirtError) -> bool:
    """It comes from what lies between us and the hypervisor, be it found out here or there."""
    return problem.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)


def _is_alive(connection: Any) -> bool:
    """As libvirt knows it without asking the other end."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _is_gone(problem: libvirt.libvirtError) -> bool:
    return bool(problem.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN)
