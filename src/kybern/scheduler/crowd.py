"""Who is on the nodes, counted for each selector that somebody asks about. Pure.

Pods that look alike (same namespace, same labels) are one entry, so a selector is matched once for all of them. A selector
that was asked about has its *tally*, one number for each node, which every placement keeps up to date; the same holds of the
affinity terms that placed pods bear, because they speak for or against a pod to come. So an answer is a vector that is
already there, however many pods run.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.facts import PodFacts
from kybern.scheduler.groups import Group, Looks, NamespaceLabels, Term

TALLIES = 2048  # those that were asked about longest ago are forgotten
REMEMBERED = 8192

type Counts = NDArray[np.int64]
type Asked = tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Bearing:
    """A term that placed pods bear. ``must``: required; ``weight`` is below 0 for anti-affinity."""

    term: Term
    weight: int
    must: bool


@dataclass(slots=True)
class _Tally:
    counts: Counts


@dataclass(slots=True)
class _Alike:
    """Pods that look alike: how many are on which node, and the tallies that count them."""

    columns: dict[int, int] = field(default_factory=dict)
    tallies: list[_Tally] = field(default_factory=list)


@dataclass(slots=True)
class _Bearers:
    counts: Counts
    total: int = 0


class Crowd:
    """Placed pods. ``labels_of`` gives a namespace's labels."""

    def __init__(self, columns: int, labels_of: NamespaceLabels) -> None:
        self._columns = columns
        self._labels_of = labels_of
        self._alike: dict[Looks, _Alike] = {}
        self._tallies: OrderedDict[Asked, _Tally] = OrderedDict()
        self._bearers: dict[Bearing, _Bearers] = {}
        self._meant: dict[Looks, tuple[tuple[Bearing, _Bearers], ...]] = {}

    def add(self, column: int, facts: PodFacts, sign: int) -> None:
        """Count a pod on a node (+1) or take it off (-1)."""
        alike = self._alike.get(facts.looks)
        if alike is None:
            alike = self._alike[facts.looks] = _Alike()
            alike.tallies = [tally for asked, tally in self._tallies.items() if self._all(asked, facts.looks)]
        number = alike.columns.get(column, 0) + sign
        if number:
            alike.columns[column] = number
        else:
            alike.columns.pop(column, None)
            if not alike.columns:
                del self._alike[facts.looks]
        for tally in alike.tallies:
            tally.counts[column] += sign
        if facts.affinities:
            for bearing in _bearings(facts):
                self._bear(bearing, column, sign)

    def count(self, *asked: Group) -> Counts:
        """How many placed pods belong to all these groups, by node. Not to be changed by the caller."""
        tally = self._tallies.get(asked)
        if tally is None:
            tally = self._tallies[asked] = _Tally(np.zeros(self._columns, np.int64))
            for looks, alike in self._alike.items():
                if self._all(asked, looks):
                    alike.tallies.append(tally)
                    for column, number in alike.columns.items():
                        tally.counts[column] += number
            if len(self._tallies) > TALLIES:
                self._forget(self._tallies.popitem(last=False)[1])
        self._tallies.move_to_end(asked)
        return tally.counts

    def bearing_on(self, looks: Looks) -> Iterable[tuple[Bearing, Counts]]:
        """The terms of placed pods that mean a pod which looks so, and how many pods bear each, by node."""
        found = self._meant.get(looks)
        if found is None:
            if len(self._meant) > REMEMBERED:
                self._meant.clear()
            found = self._meant[looks] = tuple(
                (bearing, bearers)
                for bearing, bearers in self._bearers.items()
                if bearing.term.group.has(looks, self._labels_of)
            )
        return ((bearing, bearers.counts) for bearing, bearers in found)

    def belongs(self, looks: Looks, *asked: Group) -> bool:
        return self._all(asked, looks)

    def clear(self, column: int) -> None:
        """A node is gone, and its column will be another's."""
        for looks, alike in list(self._alike.items()):
            if alike.columns.pop(column, 0) and not alike.columns:
                del self._alike[looks]
        for tally in self._tallies.values():
            tally.counts[column] = 0
        for bearing, bearers in list(self._bearers.items()):
            bearers.total -= int(bearers.counts[column])
            bearers.counts[column] = 0
            self._drop_if_unborne(bearing, bearers)

    def grow(self, columns: int) -> None:
        more = np.zeros(columns - self._columns, np.int64)
        self._columns = columns
        for tally in self._tallies.values():
            tally.counts = np.concatenate((tally.counts, more))
        for bearers in self._bearers.values():
            bearers.counts = np.concatenate((bearers.counts, more))

    def namespaces_changed(self) -> None:
        """Selectors of namespaces may mean others now: what was worked out by them is worked out again."""
        for alike in self._alike.values():
            alike.tallies.clear()
        self._tallies.clear()
        self._meant.clear()

    def _all(self, asked: Asked, looks: Looks) -> bool:
        return all(group.has(looks, self._labels_of) for group in asked)

    def _bear(self, bearing: Bearing, column: int, sign: int) -> None:
        bearers = self._bearers.get(bearing)
        if bearers is None:
            bearers = self._bearers[bearing] = _Bearers(np.zeros(self._columns, np.int64))
            self._meant.clear()
        bearers.counts[column] += sign
        bearers.total += sign
        self._drop_if_unborne(bearing, bearers)

    def _drop_if_unborne(self, bearing: Bearing, bearers: _Bearers) -> None:
        if not bearers.total:
            del self._bearers[bearing]
            self._meant.clear()

    def _forget(self, tally: _Tally) -> None:
        for alike in self._alike.values():
            alike.tallies = [one for one in alike.tallies if one is not tally]


def _bearings(facts: PodFacts) -> Iterable[Bearing]:
    for term in facts.affinities.refuses:
        yield Bearing(term, -1, must=True)
    for term in facts.affinities.needs:
        yield Bearing(term, 1, must=True)
    for weight, term in facts.affinities.likes:
        yield Bearing(term, weight, must=False)
