"""What nodes have and what is asked for on them, and vectors that follow from that, kept right node by node. Pure data.

Most pods are like many others, and a placement changes one node of thousands. So what a plugin works out for one pod is kept
for the next that asks for the same, and of that only those nodes are worked out again which changed since: a list of changed
columns is all that this takes (upstream has the same in mind with its batches of like pods).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.facts import PodFacts
from kybern.scheduler.requests import CPU, EPHEMERAL, MEMORY, PODS, Amounts

type Numbers = NDArray[np.int64]

FIXED_ROWS = (CPU, MEMORY, EPHEMERAL, PODS)
# Rows like those of resources, under names that none can have: with what is usual where nothing is asked for.
USUAL: Mapping[str, str] = MappingProxyType({CPU: "usual cpu", MEMORY: "usual memory"})
KEPT = 128  # vectors; those that were asked for longest ago are forgotten


@dataclass(frozen=True, slots=True)
class Section:
    """Some nodes, one column each."""

    allocatable: Numbers
    requested: Numbers


type Work = Callable[[Section], NDArray[Any]]


def stacked(amounts: Amounts, room: "Room") -> tuple[NDArray[np.intp], Numbers]:
    """The rows of some resources, and their amounts as a column, to be taken with all nodes at once."""
    rows = np.array([room.row(name) for name in amounts], np.intp)
    return rows, np.array(list(amounts.values()), np.int64)[:, np.newaxis]


_EMPTY = np.zeros((0, 0), np.int64)
_NOTHING = (0, 0), np.zeros(0, np.intp), Section(_EMPTY, _EMPTY)


@dataclass(slots=True)
class _Kept:
    """``seen`` is how many changes there had been when the vector was right."""

    work: Work
    values: NDArray[Any]
    seen: int


class Room:
    """One column a node, one row a resource."""

    def __init__(self, columns: int) -> None:
        self.rows: dict[str, int] = {name: row for row, name in enumerate((*FIXED_ROWS, *USUAL.values()))}
        self.allocatable: Numbers = np.zeros((len(self.rows), columns), np.int64)
        self.requested: Numbers = np.zeros((len(self.rows), columns), np.int64)
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._changed: list[int] = []
        self._before = 0
        self._last = _NOTHING

    @property
    def columns(self) -> int:
        return int(self.allocatable.shape[1])

    def row(self, resource: str) -> int:
        """The row of a resource; a new one is added at its first use."""
        found = self.rows.get(resource)
        if found is None:
            found = self.rows[resource] = len(self.rows)
            empty = np.zeros((1, self.columns), np.int64)
            self.allocatable = np.vstack((self.allocatable, empty))
            self.requested = np.vstack((self.requested, empty))
            self._last = _NOTHING
        return found

    def vector(self, key: Hashable, make: Callable[[], Work]) -> NDArray[Any]:
        """What some work gives of all nodes, its last axis; not to be changed, and right until the next change.

        ``make`` is asked for the work when it is not known by its key. It must look at each column for itself.
        """
        now = self._before + len(self._changed)
        kept = self._kept.get(key)
        if kept is None or kept.seen < self._before:
            work = make() if kept is None else kept.work
            values = work(Section(self.allocatable, self.requested))
            kept = self._kept[key] = _Kept(work, values, now)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        elif kept.seen < now:
            columns, section = self._since(kept.seen, now)
            kept.values[..., columns] = kept.work(section)
            kept.seen = now
        self._kept.move_to_end(key)
        return kept.values

    def count(self, column: int, facts: PodFacts, sign: int) -> None:
        """Take what a pod asks for (+1), or give it back (-1)."""
        for name, number in facts.asked.items():
            row = self.row(name)
            self.requested[row, column] += sign * number
        for name, number in zip(USUAL.values(), facts.usual, strict=True):
            self.requested[self.rows[name], column] += sign * number
        self._note(column)

    def set_allocatable(self, column: int, found: Amounts) -> None:
        usual = {name: found.get(resource, 0) for resource, name in USUAL.items()}
        wanted = {self.row(name): number for name, number in (found | usual).items()}
        self.allocatable[:, column] = 0
        for row, number in wanted.items():
            self.allocatable[row, column] = number
        self._note(column)

    def clear(self, column: int) -> None:
        self.allocatable[:, column] = self.requested[:, column] = 0
        self._note(column)

    def grow(self, more: int) -> None:
        """So many columns more; what was kept is too short then."""
        wider = ((0, 0), (0, more))
        self.allocatable, self.requested = np.pad(self.allocatable, wider), np.pad(self.requested, wider)
        self._kept.clear()

    def _since(self, seen: int, now: int) -> tuple[NDArray[np.intp], Section]:
        """The columns that changed; the same for all vectors of like pods, so the last answer is remembered."""
        if self._last[0] != (seen, now):
            columns = np.array(list(set(self._changed[seen - self._before :])), np.intp)
            section = Section(self.allocatable[:, columns], self.requested[:, columns])
            self._last = (seen, now), columns, section
        return self._last[1:]

    def _note(self, column: int) -> None:
        """Remember a change, as many as there are columns: by then working out all of them costs no more."""
        if len(self._changed) >= self.columns:
            self._before += len(self._changed)
            self._changed.clear()
        self._changed.append(column)
