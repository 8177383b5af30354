"""Several hypervisors as one: what is asked of a machine goes to the one that has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kybern.machines.driver import Hypervisor
from kybern.machines.errors import MachineError
from kybern.machines.moments import Taken
from kybern.machines.plan import Defined, Wanted
from kybern.machines.state import File
from kybern.machines.topology import Cluster


@dataclass(frozen=True, slots=True)
class Fleet:
    """``living``: hypervisors by their names. Those that do not answer are no part of it, and nothing is known of theirs."""

    living: Mapping[str, Hypervisor]
    _where: dict[str, str] = field(default_factory=dict)

    def defined(self, cluster: str = "") -> tuple[Defined, ...]:
        found = [
            replace(one, hypervisor=name)
            for name, each in self.living.items()
            for one in each.defined(cluster)
        ]
        self._where.update({one.name: one.hypervisor for one in found})
        return tuple(found)

    def ensure_network(self, cluster: Cluster) -> None:
        for each in self.living.values():
            each.ensure_network(cluster)

    def remove_rest(self, cluster: str) -> None:
        for each in self.living.values():
            each.remove_rest(cluster)

    def define(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        self.living[wanted.machine.hypervisor].define(wanted, files)
        self._where[wanted.name] = wanted.machine.hypervisor

    def redefine(self, wanted: Wanted) -> None:
        self._of(wanted.name).redefine(wanted)

    def start(self, name: str) -> None:
        self._of(name).start(name)

    def stop(self, name: str) -> None:
        self._of(name).stop(name)

    def kill(self, name: str) -> None:
        self._of(name).kill(name)

    def undefine(self, name: str) -> None:
        """Wherever it is: one that somebody has copied goes with its copies."""
        for each in self.living.values():
            if any(one.name == name for one in each.defined()):
                each.undefine(name)
        self._where.pop(name, None)

    def console(self, name: str) -> list[str]:
        return self._of(name).console(name)

    def said(self, name: str) -> bytes | None:
        return self._of(name).said(name)

    def pause(self, name: str) -> None:
        self._of(name).pause(name)

    def resume(self, name: str) -> None:
        self._of(name).resume(name)

    def take(self, name: str, snapshot: str) -> None:
        self._of(name).take(name, snapshot)

    def taken(self, name: str) -> tuple[Taken, ...]:
        return self._of(name).taken(name)

    def return_to(self, name: str, snapshot: str) -> None:
        self._of(name).return_to(name, snapshot)

    def forget(self, name: str, snapshot: str) -> None:
        self._of(name).forget(name, snapshot)

    def _of(self, name: str) -> Hypervisor:
        if name not in self._where:
            self.defined()
        if name not in self._where:
            raise MachineError(
                f"there is no machine {name} on {', '.join(self.living)}; see 'kybern machines list TOPOLOGY'"
            )
        return self.living[self._where[name]]
