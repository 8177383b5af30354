"""Which containers get which CPUs for themselves. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.parts import is_sidecar, most_at_once
from kybern.kubelet.resources import amount, has_own, qos, requests
from kybern.kubelet.topology.hints import Hint, Hints, Nodes, Numa, Stock, hints

type Place = tuple[int, int]
"""Socket and core of a CPU."""


class Unavailable(Exception):
    """There are not enough CPUs; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Given:
    """CPUs of one container."""

    pod: str
    container: str
    cpus: tuple[int, ...]


def parse(text: str) -> frozenset[int]:
    """The kernel's notation of a set of CPUs: 0-3,5. Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        found.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(found)


def spelled(cpus: Iterable[int]) -> str:
    """The same notation, as short as it can be."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def reserve(places: Mapping[int, Place], count: int) -> frozenset[int]:
    """As many as are kept for the node's own daemons: whole cores, the lowest first."""
    return frozenset(_take(frozenset(places), count, places))


def wish(pod: Pod, container: Container) -> int:
    """How many CPUs a container gets for itself: those of a guaranteed pod, if it asks for whole ones.

    A pod that says itself what it takes (spec.resources) has none, as upstream without PodLevelResourceManagers.
    """
    if has_own(pod):
        return 0
    milli = amount(requests(container), "cpu").milli()
    return milli // 1000 if qos(pod) == "Guaranteed" and milli and milli % 1000 == 0 else 0


class Hand:
    """Gives one pod its CPUs, container by container. Those of an ended init container go on to the next."""

    def __init__(self, pod: Pod, free: frozenset[int], places: Mapping[int, Place], numa: Numa) -> None:
        self._pod = pod
        self._free = free
        self._places = places
        self._numa = numa
        self._spare: frozenset[int] = frozenset()
        self.given: list[Given] = []

    def hints(self, container: Container | None) -> tuple[Hints, ...]:
        """From which nodes a container's CPUs could come, or those of the whole pod."""
        count = wish(self._pod, container) if container is not None else wish_of_pod(self._pod)
        if not count:
            return ()
        spare = self._spare if container is not None else frozenset()
        stock = Stock(self._nodes(self._places), self._nodes(self._free), self._nodes(spare))
        return (hints(stock, count, self._numa),)

    def take(self, container: Container, hint: Hint) -> None:
        """Raises Unavailable."""
        count = wish(self._pod, container)
        if not count:
            return
        found = self._found(count, hint.nodes)
        init = any(container.name == one.name for one in self._pod.spec.init_containers)
        handed_on = init and not is_sidecar(container)
        self._free -= found
        self._spare = self._spare | found if handed_on else self._spare - found
        self.given.append(Given(self._pod.metadata.uid, container.name, tuple(sorted(found))))

    def _found(self, count: int, nodes: Nodes | None) -> frozenset[int]:
        """Of these nodes first, and of those first that the pod has already."""
        available = len(self._spare) + len(self._free)
        if count > available:
            raise Unavailable(
                f"not enough cpus available to satisfy request: requested={count}, available={available}"
            )
        found: frozenset[int] = frozenset()
        for pool in (self._near(self._spare, nodes), self._near(self._free, nodes), self._spare, self._free):
            left = pool - found
            found |= frozenset(_take(left, min(count - len(found), len(left)), self._places))
        return found

    def _near(self, cpus: frozenset[int], nodes: Nodes | None) -> frozenset[int]:
        if nodes is None:
            return frozenset()
        return frozenset(cpu for cpu in cpus if nodes >> self._numa.of_cpu.get(cpu, 0) & 1)

    def _nodes(self, cpus: Iterable[int]) -> tuple[Nodes, ...]:
        return tuple(1 << self._numa.of_cpu.get(cpu, 0) for cpu in cpus)


def wish_of_pod(pod: Pod) -> int:
    """How many CPUs a pod has for itself at once: sidecars run beside all that comes after them."""
    return most_at_once(pod, lambda container: wish(pod, container))


def _take(free: frozenset[int], count: int, places: Mapping[int, Place]) -> tuple[int, ...]:
    """Whole cores first, so that neighbours of a core do not disturb each other; then what is left of broken ones."""
    whole: dict[Place, list[int]] = {}
    for cpu, place in places.items():
        whole.setdefault(place, []).append(cpu)
    found: list[int] = []
    for _place, cpus in sorted(whole.items()):
        if len(cpus) <= count - len(found) and free.issuperset(cpus):
            found += sorted(cpus)
    # A core that is broken already comes before one that is whole.
    rest = sorted(free.difference(found), key=lambda cpu: (free.issuperset(whole[places[cpu]]), cpu))
    return (*found, *rest[: count - len(found)])
