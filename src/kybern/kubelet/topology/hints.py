"""From which NUMA nodes something could come. Pure.

A set of nodes is a number with bit N for node N, as the kernel writes it. The rules are upstream's
(pkg/kubelet/cm/cpumanager/policy_static.go and devicemanager/topology_hints.go).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

type Nodes = int
type Hints = tuple[Hint, ...] | None
"""None: any node will do. None of them: no node will."""


@dataclass(frozen=True, slots=True)
class Numa:
    """The machine's NUMA nodes, how far they are from each other (by the kernel's measure), and each CPU's own."""

    nodes: tuple[int, ...] = (0,)
    distances: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    of_cpu: Mapping[int, int] = field(default_factory=dict)

    @property
    def all(self) -> Nodes:
        return together(self.nodes)


@dataclass(frozen=True, slots=True)
class Hint:
    """Nodes that would do (None: any). Preferred are those that are no more than it takes."""

    nodes: Nodes | None
    preferred: bool


def together(nodes: Iterable[int]) -> Nodes:
    """A set of nodes as one number."""
    return sum(1 << node for node in set(nodes))


def sets(numa: Numa) -> Iterator[Nodes]:
    """All sets of nodes with something in them."""
    for size in range(1, len(numa.nodes) + 1):
        for chosen in combinations(numa.nodes, size):
            yield together(chosen)


@dataclass(frozen=True, slots=True)
class Stock:
    """All things of one kind, those that are free, and those that the pod has and can use again: each by its nodes.

    A thing that is near no node has 0.
    """

    all: tuple[Nodes, ...]
    free: tuple[Nodes, ...]
    again: tuple[Nodes, ...] = ()


def hints(
    stock: Stock, count: int, numa: Numa, aligned: Callable[[Nodes, int], bool] | None = None
) -> tuple[Hint, ...]:
    """The sets of nodes from which ``count`` things can come, with all those that the pod has already.

    ``aligned`` may prefer more than the smallest sets: it gets the set, and how many nodes it takes at least.
    """
    least = len(numa.nodes)
    found = []
    for nodes in sets(numa):
        if sum(bool(thing & nodes) for thing in stock.all) >= count:
            least = min(least, nodes.bit_count())
        if any(thing and not thing & nodes for thing in stock.again):
            continue
        near = (*(thing for thing in stock.again if thing), *(thing for thing in stock.free if thing & nodes))
        if len(near) >= count:
            found.append(nodes)
    return tuple(
        Hint(nodes, nodes.bit_count() == least or (aligned is not None and aligned(nodes, least)))
        for nodes in found
    )
