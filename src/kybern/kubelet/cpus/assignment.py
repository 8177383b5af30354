"""Which CPUs are taken, of those that are free. Pure; the rules are upstream's (cpumanager/cpu_assignment.go, KEP-2902).

Packed: whole NUMA nodes and sockets as long as that many are wanted, then whole cores, then what is left of broken ones;
of several always those with the least room first, so that wide rooms stay whole. By caches
(``prefer-align-cpus-by-uncorecache``): whole last-level caches before cores, and what is left below one of them. Spread
(``distribute-cpus-across-cores``): no whole cores. Distributed (``distribute-cpus-across-numa``): the same number from
each of as few NUMA nodes as can give it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle
from statistics import pstdev
from typing import Any

from kybern.kubelet.cpus.layout import Layout, Sort
from kybern.kubelet.cpus.options import Options

PACKED = Options()


class Unavailable(Exception):
    """There are not enough CPUs; the message is upstream's."""


def take(layout: Layout, free: frozenset[int], count: int, options: Options = PACKED) -> frozenset[int]:
    """Raises Unavailable."""
    if count > len(free):
        raise Unavailable(
            f"not enough cpus available to satisfy request: requested={count}, available={len(free)}"
        )
    if not count:
        return frozenset()
    group = layout.threads if options.whole_cores else 1
    if options.across_nodes and count % group == 0:
        return _distributed(layout, free, count, group)
    return _packed(layout, free, count, options)


class _Taking:
    """What is free, what was taken, and how many are still wanted."""

    def __init__(self, layout: Layout, free: frozenset[int], count: int) -> None:
        self._layout = layout
        self._free = set(free)
        self._wanted = count
        self.found: frozenset[int] = frozenset()

    def _take(self, cpus: set[int]) -> None:
        self.found |= cpus
        self._free -= cpus
        self._wanted -= len(cpus)

    def whole(self, *levels: Sort) -> None:
        """Take what is wholly free of the last level, as long as that many are wanted."""
        for name in list(_ordered(self._free, levels)):
            cpus = {cpu for cpu, one in levels[-1].items() if one == name}
            if cpus <= self._free and len(cpus) <= self._wanted:
                self._take(cpus)

    def below_one(self, *levels: Sort) -> None:
        """Take all that is wanted from one of the last level, core by core, if there is one with room for it."""
        for name in list(_ordered(self._free, levels)):
            cores: dict[Any, list[int]] = {}
            for cpu in sorted(cpu for cpu in self._free if levels[-1][cpu] == name):
                cores.setdefault(self._layout.cores[cpu], []).append(cpu)
            few = sorted(cores)[: -(-self._wanted // self._layout.threads)]
            cpus = [cpu for core in few for cpu in cores[core]][: self._wanted]
            if len(cpus) == self._wanted:
                self._take(set(cpus))

    def single(self, *levels: Sort) -> None:
        """Take one by one, in the order of the levels."""
        names = list(_ordered(self._free, levels))
        rest = [cpu for name in names for cpu in sorted(self._free) if levels[-1][cpu] == name]
        self._take(set(rest[: self._wanted]))


def _ordered(free: set[int], levels: Sequence[Sort]) -> Iterator[Any]:
    """The names of the last level, least free first, within each of the level above in the same order."""
    sort, *below = levels
    groups: dict[Any, set[int]] = {}
    for cpu in free:
        groups.setdefault(sort[cpu], set()).add(cpu)
    for name, cpus in sorted(groups.items(), key=lambda item: (len(item[1]), item[0])):
        if below:
            yield from _ordered(cpus, below)
        else:
            yield name


def _nodes_first(layout: Layout) -> bool:
    """Whether NUMA nodes are as wide as sockets, or wider."""
    return len(set(layout.sockets.values())) >= len(set(layout.nodes.values()))


def _by_node(layout: Layout) -> tuple[Sort, ...]:
    return (layout.nodes,) if _nodes_first(layout) else (layout.sockets, layout.nodes)


def _packed(layout: Layout, free: frozenset[int], count: int, options: Options) -> frozenset[int]:
    taking = _Taking(layout, free, count)
    nodes, sockets = layout.nodes, layout.sockets
    levels = (nodes, sockets) if _nodes_first(layout) else (sockets, nodes)
    taking.whole(levels[0])
    taking.whole(*levels)
    if options.by_caches:
        taking.whole(*_by_node(layout), layout.last_caches)
        taking.below_one(*_by_node(layout), layout.last_caches)
    if options.across_cores:
        taking.single(*((nodes, sockets) if _nodes_first(layout) else (sockets,)))
    else:
        taking.whole(*levels, layout.cores)
        taking.single(*levels, layout.cores)
    return taking.found


@dataclass(frozen=True, slots=True)
class _Share:
    """How many of each node. ``apart``: by how much the nodes' remaining room would differ."""

    apart: float
    each: Mapping[int, int]


def _distributed(layout: Layout, free: frozenset[int], count: int, group: int) -> frozenset[int]:
    of = layout.nodes
    room = {
        node: frozenset(cpu for cpu in free if of[cpu] == node)
        for node in _ordered(set(free), _by_node(layout))
    }
    sizes = {node: len(cpus) for node, cpus in room.items()}
    for width in _widths(layout, sizes, count, group):
        shares = [share for few in combinations(sizes, width) for share in _shares(sizes, few, count, group)]
        if shares:
            best = min(shares, key=lambda share: share.apart)
            each = (_packed(layout, room[node], number, PACKED) for node, number in best.each.items())
            return frozenset().union(*each)
    return _packed(layout, free, count, PACKED)


def _widths(layout: Layout, sizes: Mapping[int, int], count: int, group: int) -> range:
    """How many nodes it takes, at least and at most."""
    groups, wanted = -(-len(layout.places) // group), -(-count // group)
    by_node = -(-groups // len(set(layout.nodes.values())))
    return range(-(-wanted // by_node), min(wanted, len(sizes)) + 1)


def _shares(sizes: Mapping[int, int], few: Sequence[int], count: int, group: int) -> Iterator[_Share]:
    """The ways to have the same number of each of these nodes, and one group more of some where it does not come out."""
    even = count // len(few) // group * group
    if sum(sizes[node] // group * group for node in few) < count or any(sizes[node] < even for node in few):
        return
    more = count - even * len(few)
    wide = [node for node in few if sizes[node] - even >= group]
    for number in range(len(wide), 0, -1) if more else [0]:
        for some in combinations(wide, number):
            each = dict.fromkeys(few, even)
            if sum((sizes[node] - even) // group * group for node in some) >= more:
                _add(each, some, sizes, more, group)
                left = [size - each.get(node, 0) for node, size in sizes.items()]
                yield _Share(round(pstdev(left), 3), each)


def _add(each: dict[int, int], some: Sequence[int], sizes: Mapping[int, int], more: int, group: int) -> None:
    for node in cycle(some):
        if more <= 0:
            return
        if sizes[node] - each[node] >= group:
            each[node] += group
            more -= group
