"""From which NUMA nodes a container's memory comes. Pure; the rules are upstream's (cm/memorymanager/policy_static.go).

A node gives either to containers that take of it alone, or to those that take of the same group of nodes: otherwise what
is free in a group would not be where it is thought to be. Sizes are in bytes. What an init container had goes on to the
containers after it that take of the same nodes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from kybern.api.core_v1 import Container, Pod
from kybern.kubelet.parts import is_sidecar, most_at_once
from kybern.kubelet.resources import amount, has_own, qos, requests
from kybern.kubelet.topology.hints import Hint, Hints, Nodes, Numa, sets, together

HUGE = "hugepages-"


class Unavailable(Exception):
    """The memory cannot be had; the message is upstream's."""

    def __init__(self, text: str) -> None:
        super().__init__(f"[memorymanager] {text}")


class Table(msgspec.Struct, frozen=True, rename="camel"):
    """One sort of memory of one node."""

    total: int
    system_reserved: int
    allocatable: int
    reserved: int
    free: int


class Cell(msgspec.Struct, frozen=True, rename="camel"):
    """One node. ``cells``: the group of nodes that it gives of together, itself among them."""

    number_of_assignments: int
    memory_map: Mapping[str, Table]
    cells: tuple[int, ...]

    def free(self, sort: str) -> int:
        return self.memory_map[sort].free if sort in self.memory_map else 0

    def allocatable(self, sort: str) -> int:
        return self.memory_map[sort].allocatable if sort in self.memory_map else 0


class Block(msgspec.Struct, frozen=True, rename="camel"):
    """Memory of one sort that one container has, from these nodes together."""

    numa_affinity: tuple[int, ...]
    type: str
    size: int


type State = Mapping[int, Cell]
type Entries = Mapping[str, Mapping[str, tuple[Block, ...]]]
"""Uid of the pod, name of the container, what it has."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of each node, and who has the rest."""

    state: State
    entries: Entries


def untouched(totals: Mapping[int, Mapping[str, int]], reserved: Mapping[int, Mapping[str, int]]) -> State:
    """All nodes with nothing given. Huge pages are not there for ordinary memory."""
    found = {}
    for node, sorts in totals.items():
        huge = sum(size for sort, size in sorts.items() if sort.startswith(HUGE))
        tables = {}
        for sort, total in sorts.items():
            kept = reserved.get(node, {}).get(sort, 0)
            left = total - kept - (huge if sort == "memory" else 0)
            tables[sort] = Table(total, kept, left, 0, left)
        found[node] = Cell(0, tables, (node,))
    return found


def wishes(pod: Pod, container: Container) -> Mapping[str, int]:
    """What a container gets for certain, by sort: only in guaranteed pods, and not where the pod asks as a whole."""
    if qos(pod) != "Guaranteed" or has_own(pod):
        return {}
    asked = requests(container)
    return {name: amount(asked, name).value() for name in sorted(asked) if is_memory(name)}


def is_memory(name: str) -> bool:
    return name == "memory" or name.startswith(HUGE)


def wishes_of_pod(pod: Pod) -> Mapping[str, int]:
    """What a pod has at one time, by sort."""
    names = {name for one in (*pod.spec.init_containers, *pod.spec.containers) for name in wishes(pod, one)}

    def at_once(name: str) -> int:
        return most_at_once(pod, lambda one: wishes(pod, one).get(name, 0))

    return {name: at_once(name) for name in sorted(names)}


class Hand:
    """Gives one pod its memory, container by container. ``state`` is what is left then, ``given`` what it got."""

    def __init__(self, pod: Pod, state: State, numa: Numa) -> None:
        self._pod = pod
        self._numa = numa
        self._spare: dict[tuple[tuple[int, ...], str], int] = {}
        self.state = state
        self.given: dict[str, tuple[Block, ...]] = {}

    def hints(self, container: Container | None) -> tuple[Hints, ...]:
        """For each sort, from which nodes it could come. None at all: nobody is asked to care, and ``take`` tells."""
        wanted = wishes_of_pod(self._pod) if container is None else wishes(self._pod, container)
        found = self._found(wanted)
        return tuple(found for _sort in wanted) if found else ()

    def take(self, container: Container, hint: Hint) -> None:
        """Raises Unavailable."""
        wanted = wishes(self._pod, container)
        if not wanted:
            return
        nodes = bits(self._chosen(wanted, hint))
        if self._mixed(nodes):
            raise Unavailable("preferred hint violates NUMA node allocation")
        blocks = tuple(Block(nodes, sort, size) for sort, size in wanted.items())
        for block in blocks:
            need = max(0, block.size - self._spare.get((nodes, block.type), 0))
            self.state = taken(self.state, replace(block, size=need))
        self.given[container.name] = blocks
        self._hand_on(container, blocks)

    def _chosen(self, wanted: Mapping[str, int], hint: Hint) -> Nodes:
        nodes, preferred = hint.nodes, hint.preferred
        if nodes is None:
            best = _best(self._found(wanted))
            if best is None:
                text = (
                    "failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"
                )
                raise Unavailable(text)
            if preferred and not best.preferred:
                raise Unavailable("failed to find the default preferred hint")
            nodes, preferred = best.nodes or 0, best.preferred
        if all(self._free(nodes, sort) >= size for sort, size in wanted.items()):
            return nodes
        return self._wider(wanted, Hint(nodes, preferred))

    def _wider(self, wanted: Mapping[str, int], hint: Hint) -> Nodes:
        """More nodes, these among them: what suits all kinds of resources may be too few for memory."""
        narrow = hint.nodes or 0
        best = _best(one for one in self._found(wanted) if narrow & (one.nodes or 0) == narrow)
        if best is None:
            raise Unavailable("failed to find NUMA nodes to extend the current topology hint")
        if hint.preferred and not best.preferred:
            raise Unavailable("failed to find the extended preferred hint")
        return best.nodes or 0

    def _found(self, wanted: Mapping[str, int]) -> tuple[Hint, ...]:
        if not wanted:
            return ()
        least, found = len(self.state), []
        for nodes in sets(Numa(tuple(sorted(self.state)))):
            group = bits(nodes)
            if any(sum(self.state[n].allocatable(s) for n in group) < size for s, size in wanted.items()):
                continue
            least = min(least, len(group))
            alone_in_group = len(group) == 1 and len(self.state[group[0]].cells) > 1
            if alone_in_group or self._mixed(group):
                continue
            if all(
                self._free(nodes, s) + self._spare.get((group, s), 0) >= size for s, size in wanted.items()
            ):
                found.append(nodes)
        return tuple(Hint(nodes, nodes.bit_count() == least) for nodes in found)

    def _free(self, nodes: Nodes, sort: str) -> int:
        return sum(self.state[node].free(sort) for node in bits(nodes))

    def _mixed(self, group: tuple[int, ...]) -> bool:
        """Whether a group of several nodes has one in it that gives alone, or in another group."""
        cells = [self.state[node] for node in group]
        return len(group) > 1 and any(
            cell.number_of_assignments > 0 and tuple(sorted(cell.cells)) != group for cell in cells
        )

    def _hand_on(self, container: Container, blocks: tuple[Block, ...]) -> None:
        if any(one.name == container.name and not is_sidecar(one) for one in self._pod.spec.init_containers):
            for block in blocks:
                key = block.numa_affinity, block.type
                self._spare[key] = max(self._spare.get(key, 0), block.size)
        else:
            for block in blocks:
                key = block.numa_affinity, block.type
                self._spare[key] = max(0, self._spare.get(key, 0) - block.size)
        self._shrink(container, blocks)

    def _shrink(self, container: Container, blocks: tuple[Block, ...]) -> None:
        """Those that ended have so much less: together the containers have what the pod has."""
        for block in blocks:
            left = block.size
            for init in self._pod.spec.init_containers:
                if init.name == container.name or not left:
                    break
                if is_sidecar(init):
                    continue
                kept = []
                for one in self.given.get(init.name, ()):
                    same = (one.numa_affinity, one.type) == (block.numa_affinity, block.type)
                    less = min(one.size, left) if same else 0
                    left -= less
                    kept.append(replace(one, size=one.size - less))
                self.given[init.name] = tuple(kept)


def _best(hints: Iterable[Hint]) -> Hint | None:
    """A preferred one, then the fewest nodes, then the lowest."""
    return min(
        hints,
        key=lambda hint: (not hint.preferred, (hint.nodes or 0).bit_count(), hint.nodes or 0),
        default=None,
    )


def bits(nodes: Nodes) -> tuple[int, ...]:
    """The numbers of a set of nodes."""
    return tuple(node for node in range(nodes.bit_length()) if nodes >> node & 1)


def taken(state: State, block: Block) -> State:
    """What is left when a container has this too: of the first of its nodes first."""
    found, need = dict(state), block.size
    for node in block.numa_affinity:
        cell = found[node]
        tables = dict(cell.memory_map)
        if block.type in tables:
            table = tables[block.type]
            part = min(max(table.free, 0), need)
            need -= part
            tables[block.type] = replace(table, reserved=table.reserved + part, free=table.free - part)
        found[node] = Cell(cell.number_of_assignments + 1, tables, block.numa_affinity)
    return found


def returned(state: State, block: Block) -> State:
    """What is left when a container does not have this any more."""
    found, rest = dict(state), block.size
    for node in block.numa_affinity:
        cell = found[node]
        tables = dict(cell.memory_map)
        if block.type in tables:
            table = tables[block.type]
            part = min(table.reserved, rest)
            rest -= part
            tables[block.type] = replace(table, reserved=table.reserved - part, free=table.free + part)
        count = cell.number_of_assignments - 1
        found[node] = Cell(count, tables, cell.cells if count else (node,))
    return found


def agrees(kept: Kept, fresh: State) -> str:
    """Why what was kept is not true of this machine; empty when it is."""
    state = fresh
    for pod, containers in kept.entries.items():
        for name, blocks in containers.items():
            for block in blocks:
                shown = f"[memorymanager] (pod: {pod}, container: {name}) the memory assignment uses"
                if any(node not in state for node in block.numa_affinity):
                    return f"{shown} the NUMA that does not exist"
                if any(block.type not in state[node].memory_map for node in block.numa_affinity):
                    return f"{shown} memory resource that does not exist"
                state = taken(state, block)
    same = state.keys() == kept.state.keys() and all(_same(kept.state, state, node) for node in sorted(state))
    return "" if same else "[memorymanager] the expected machine state is different from the real one"


def _same(one: State, other: State, node: int) -> bool:
    a, b = one[node], other[node]
    if a.number_of_assignments != b.number_of_assignments or together(a.cells) != together(b.cells):
        return False
    return a.memory_map.keys() == b.memory_map.keys() and all(
        _sizes(one, a, sort) == _sizes(other, b, sort) for sort in a.memory_map
    )


def _sizes(state: State, cell: Cell, sort: str) -> tuple[int, ...]:
    """Of the node, and of its group together: where in a group something lies does not count."""
    table = cell.memory_map[sort]
    group = [state[node].memory_map.get(sort) for node in cell.cells]
    free = sum(one.free for one in group if one is not None)
    reserved = sum(one.reserved for one in group if one is not None)
    return table.total, table.system_reserved, table.allocatable, free, reserved
