"""Which containers get which CPUs for themselves. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.cpus.assignment import PACKED, Unavailable, take
from kybern.kubelet.cpus.layout import Layout
from kybern.kubelet.cpus.options import Options
from kybern.kubelet.parts import is_sidecar, most_at_once
from kybern.kubelet.resources import amount, has_own, qos, requests
from kybern.kubelet.topology.hints import Hint, Hints, Nodes, Stock, hints


class Misaligned(Exception):
    """A container cannot have whole cores; the message is upstream's."""


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


def reserve(layout: Layout, count: int, options: Options = PACKED) -> frozenset[int]:
    """As many as are kept for the node's own daemons: whole cores, the lowest first."""
    return take(layout, layout.all, count, options)


def wish(pod: Pod, container: Container) -> int:
    """How many CPUs a container gets for itself: those of a guaranteed pod, if it asks for whole ones.

    A pod that says itself what it takes (spec.resources) has none, as upstream without PodLevelResourceManagers.
    """
    if has_own(pod):
        return 0
    milli = amount(requests(container), "cpu").milli()
    return milli // 1000 if qos(pod) == "Guaranteed" and milli and milli % 1000 == 0 else 0


@dataclass(frozen=True, slots=True)
class Shelf:
    """What there is to give: the CPUs that are nobody's own nor ``reserved``."""

    layout: Layout
    free: frozenset[int]
    reserved: frozenset[int] = frozenset()
    options: Options = PACKED


class Hand:
    """Gives one pod its CPUs, container by container. Those of an ended init container go on to the next."""

    def __init__(self, pod: Pod, shelf: Shelf) -> None:
        self._pod = pod
        self._layout = shelf.layout
        self._options = shelf.options
        self._free = shelf.free
        # A core with a reserved CPU is never whole.
        self._broken = shelf.layout.siblings(shelf.reserved)
        self._spare: frozenset[int] = frozenset()
        self.given: list[Given] = []

    def hints(self, container: Container | None) -> tuple[Hints, ...]:
        """From which nodes a container's CPUs could come, or those of the whole pod."""
        count = wish(self._pod, container) if container is not None else wish_of_pod(self._pod)
        if not count:
            return ()
        spare = self._spare if container is not None else frozenset()
        stock = Stock(self._nodes(self._layout.places), self._nodes(self._free), self._nodes(spare))
        aligned = self._on_few_sockets if self._options.by_socket else None
        return (hints(stock, count, self._layout.numa, aligned),)

    def _on_few_sockets(self, nodes: Nodes, least: int) -> bool:
        """Whether a set of nodes lies on no more sockets than the smallest set that could do."""
        by_socket = len(self._layout.numa.nodes) // len(set(self._layout.sockets.values()))
        return len(self._sockets(nodes)) == -(-least // by_socket)

    def _sockets(self, nodes: Nodes) -> set[int]:
        sockets = self._layout.sockets
        return {sockets[cpu] for cpu, node in self._layout.nodes.items() if nodes >> node & 1}

    def take(self, container: Container, hint: Hint) -> None:
        """Raises Unavailable and Misaligned."""
        count = wish(self._pod, container)
        if not count:
            return
        if self._options.whole_cores:
            self._whole(count)
        found = self._found(count, hint.nodes)
        init = any(container.name == one.name for one in self._pod.spec.init_containers)
        handed_on = init and not is_sidecar(container)
        self._free -= found
        self._spare = self._spare | found if handed_on else self._spare - found
        self.given.append(Given(self._pod.metadata.uid, container.name, tuple(sorted(found))))

    def _whole(self, count: int) -> None:
        by_core = self._layout.threads
        if count % by_core:
            raise Misaligned(
                f"SMT Alignment Error: requested {count} cpus not multiple cpus per core = {by_core}"
            )
        free = len((self._free | self._spare) - self._broken)
        if count > free:
            raise Misaligned(
                f"SMT Alignment Error: not enough free physical CPUs: available physical CPUs = {free}, "
                f"requested CPUs = {count}, CPUs per core = {by_core}"
            )

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
            found |= take(self._layout, left, min(count - len(found), len(left)), self._options)
        return found

    def _near(self, cpus: frozenset[int], nodes: Nodes | None) -> frozenset[int]:
        if nodes is None:
            return frozenset()
        if self._options.by_socket:
            near, sockets = self._sockets(nodes), self._layout.sockets
            return frozenset(cpu for cpu in cpus if sockets[cpu] in near)
        of = self._layout.nodes
        return frozenset(cpu for cpu in cpus if nodes >> of[cpu] & 1)

    def _nodes(self, cpus: Iterable[int]) -> tuple[Nodes, ...]:
        of = self._layout.nodes
        return tuple(1 << of[cpu] for cpu in cpus)


def wish_of_pod(pod: Pod) -> int:
    """How many CPUs a pod has for itself at once: sidecars run beside all that comes after them."""
    return most_at_once(pod, lambda container: wish(pod, container))
