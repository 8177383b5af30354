"""Snapshots of a cluster's virtual machines: all of them at one moment, and back to it.

They stand still while they are taken, so that nothing that one machine has told another is missing from the other's disk.
Back means as after a loss of power at that moment: disks are as they were, and the machines boot, so that their clocks are
right. What etcd had acknowledged then is there.
"""

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from kybern.machines.errors import MachineError
from kybern.machines.plan import Defined

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot of one machine. ``ran``: whether the machine ran then; ``when``: seconds since 1970."""

    name: str
    when: int
    ran: bool


class Keeper(Protocol):
    """What a hypervisor can do with one machine, by its domain's name."""

    def defined(self, cluster: str = "") -> tuple[Defined, ...]: ...
    def start(self, name: str) -> None: ...
    def kill(self, name: str) -> None: ...
    def pause(self, name: str) -> None: ...
    def resume(self, name: str) -> None: ...
    def take(self, name: str, snapshot: str) -> None: ...
    def taken(self, name: str) -> tuple[Taken, ...]: ...
    def return_to(self, name: str, snapshot: str) -> None: ...
    def forget(self, name: str, snapshot: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Moments:
    """The snapshots of one cluster."""

    keeper: Keeper
    cluster: str

    def take(self, snapshot: str) -> int:
        """One of each machine; returns of how many. All or none: what was taken is removed when one fails."""
        if not NAME.fullmatch(snapshot):
            raise MachineError(
                f'"{snapshot}" is no name for a snapshot; take small letters, digits, dots and dashes'
            )
        machines = self._machines()
        has = [each.machine for each in machines if self._of(each, snapshot)]
        if has:
            raise MachineError(f"there is a snapshot {snapshot} of {', '.join(has)}; take another name")
        running = [each.name for each in machines if each.active]
        try:
            self._each(running, self.keeper.pause)
            try:
                self._each([each.name for each in machines], lambda name: self.keeper.take(name, snapshot))
            except MachineError:
                done = [each.name for each in machines if self._of(each, snapshot)]
                self._each(done, lambda name: self.keeper.forget(name, snapshot))
                raise
        finally:
            self._each(running, self.keeper.resume)
        return len(machines)

    def list(self) -> dict[str, dict[str, Taken]]:
        """By the snapshot's name, then by the machine's."""
        found: dict[str, dict[str, Taken]] = {}
        for machine in self._machines():
            for one in self.keeper.taken(machine.name):
                found.setdefault(one.name, {})[machine.machine] = one
        return found

    def return_to(self, snapshot: str) -> tuple[str, ...]:
        """All machines as they were; returns those that run now, which are those that ran then."""
        machines = self._machines()
        found = {each: self._of(each, snapshot) for each in machines}
        lacking = [each.machine for each, one in found.items() if one is None]
        if lacking:
            raise MachineError(
                f"there is no snapshot {snapshot} of {', '.join(lacking)}; see 'kybern machines snapshot list'"
            )
        names = [each.name for each in machines]
        self._each(names, self.keeper.kill)
        self._each(names, lambda name: self.keeper.return_to(name, snapshot))
        ran = [each for each, one in found.items() if one is not None and one.ran]
        self._each([each.name for each in ran], self.keeper.start)
        return tuple(each.machine for each in ran)

    def remove(self, snapshot: str) -> int:
        """Returns of how many machines there was one."""
        has = [each.name for each in self._machines() if self._of(each, snapshot)]
        if not has:
            raise MachineError(
                f"cluster {self.cluster} has no snapshot {snapshot}; see 'kybern machines snapshot list'"
            )
        self._each(has, lambda name: self.keeper.forget(name, snapshot))
        return len(has)

    def _machines(self) -> tuple[Defined, ...]:
        found = self.keeper.defined(self.cluster)
        if not found:
            raise MachineError(
                f"cluster {self.cluster} has no virtual machines; containers (driver: lxc) have no snapshots"
            )
        return found

    def _of(self, machine: Defined, snapshot: str) -> Taken | None:
        return next((one for one in self.keeper.taken(machine.name) if one.name == snapshot), None)

    def _each(self, names: Iterable[str], act: Callable[[str], None]) -> None:
        """At once; lets all end, then raises the first error that came."""
        names = tuple(names)
        if not names:
            return
        with ThreadPoolExecutor(len(names)) as pool:
            futures = [pool.submit(act, name) for name in names]
        for future in futures:
            future.result()
