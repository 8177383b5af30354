"""Where the machine's CPUs are: in which core, socket, NUMA node, and under which last cache. Pure."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from kybern.kubelet.topology.hints import Numa

type Place = tuple[int, int]
"""Socket and core of a CPU."""
type Sort = Mapping[int, Hashable]
"""Which core, socket, NUMA node or cache each CPU belongs to."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``caches``: the last-level cache ("uncore") of each CPU, by any number; without it a socket has one."""

    places: Mapping[int, Place] = field(default_factory=dict)
    numa: Numa = field(default_factory=Numa)
    caches: Mapping[int, int] = field(default_factory=dict)

    @property
    def all(self) -> frozenset[int]:
        return frozenset(self.places)

    @property
    def cores(self) -> Sort:
        return self.places

    @property
    def sockets(self) -> Mapping[int, int]:
        return {cpu: socket for cpu, (socket, _core) in self.places.items()}

    @property
    def nodes(self) -> Mapping[int, int]:
        return {cpu: self.numa.of_cpu.get(cpu, 0) for cpu in self.places}

    @property
    def last_caches(self) -> Mapping[int, int]:
        return {cpu: self.caches.get(cpu, socket) for cpu, (socket, _core) in self.places.items()}

    @property
    def threads(self) -> int:
        """CPUs of a core; 1 without simultaneous multithreading."""
        return len(self.places) // max(1, len(set(self.places.values()))) or 1

    def siblings(self, cpus: Iterable[int]) -> frozenset[int]:
        """These, and all that share a core with one of them."""
        cores = {self.places[cpu] for cpu in cpus if cpu in self.places}
        return frozenset(cpu for cpu, core in self.places.items() if core in cores)
