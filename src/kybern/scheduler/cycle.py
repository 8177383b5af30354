"""Which node a pod goes to, or why none takes it. Pure.

Filters run in the order of the plugins; a node that one refuses is not shown to the next, so that each refused node counts
once, as upstream counts it. Among the best nodes of equal score one is drawn, by a generator that is handed in: a run that
starts with the same seed and sees the same things decides the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Plugin
from kybern.scheduler.table import Mask, Numbers, Table

type Columns = NDArray[np.intp]

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True)
class Placed:
    node: str


@dataclass(frozen=True, slots=True)
class Refused:
    """``plugins`` are those that refused at least one node; ``helpful`` the nodes where others' leaving could help."""

    nodes: int
    reasons: str
    plugins: frozenset[str]
    helpful: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What the pod's condition and event say when nobody leaves for it."""
        others = {NO_VICTIMS: len(self.helpful), NOT_HELPFUL: self.nodes - len(self.helpful)}
        parts = ", ".join(sorted(f"{number} {reason}" for reason, number in others.items() if number))
        return self.saying(f"preemption: 0/{self.nodes} nodes are available: {parts}." if self.nodes else "")

    def saying(self, more: str) -> str:
        """The same with other words about preemption; without any when somebody leaves."""
        return f"{self.reasons} {more}" if more else self.reasons


@dataclass(slots=True)
class _Count:
    """Who refused how many nodes and why."""

    reasons: dict[str, int]
    plugins: set[str]
    helped: Mask
    about_pod: str = ""


def schedule(
    facts: PodFacts,
    table: Table,
    plugins: Sequence[Plugin],
    random: np.random.Generator,
    promised: str = "",
) -> Placed | Refused:
    """``promised`` is the node that pods were made to leave for this one: it is taken if it will do."""
    count = _Count({}, set(), np.zeros(table.columns, np.bool_))
    left = _filtered(facts, table, plugins, count)
    if not left.any():
        helpful = tuple(table.names[column] for column in np.flatnonzero(count.helped))
        return Refused(len(table), _reasons(len(table), count), frozenset(count.plugins), helpful)
    if promised in table.index and left[table.index[promised]]:
        return Placed(promised)
    best = _best(facts, table, plugins, left)
    return Placed(table.names[int(best[0] if len(best) == 1 else random.choice(best))])


def _filtered(facts: PodFacts, table: Table, plugins: Sequence[Plugin], count: _Count) -> Mask:
    left = table.valid.copy()
    for plugin in plugins:
        if plugin.filter is None:
            continue
        refused = np.zeros_like(left)
        helped = left.copy()
        for refusal in plugin.filter(facts, table):
            against = refusal.nodes & left
            number = int(np.count_nonzero(against))
            if number:
                if refusal.about_pod:
                    count.about_pod = refusal.reason
                count.reasons[refusal.reason] = count.reasons.get(refusal.reason, 0) + number
                count.plugins.add(plugin.name)
                refused |= against
                if not refusal.helped:
                    helped &= ~against
        count.helped |= refused & helped
        left &= ~refused
        if not left.any():
            break
    return left


def _best(facts: PodFacts, table: Table, plugins: Sequence[Plugin], left: Mask) -> Columns:
    """The columns of the highest score."""
    columns = np.flatnonzero(left)
    if len(columns) == 1:
        return columns
    total: Numbers = np.zeros(len(columns), np.int64)
    for plugin in plugins:
        scores = plugin.score(facts, table, left) if plugin.score else None
        if scores is None:
            continue
        scores = scores[columns]
        if plugin.normalize:
            scores = plugin.normalize(scores)
        total += plugin.weight * scores
    best: Columns = columns[total == total.max()]
    return best


def _reasons(nodes: int, count: _Count) -> str:
    """As upstream's FitError: reasons in alphabetical order of ``N reason``."""
    if not nodes:
        return "no nodes available to schedule pods"
    if count.about_pod:
        return f"0/{nodes} nodes are available: {count.about_pod}."
    reasons = ", ".join(sorted(f"{number} {reason}" for reason, number in count.reasons.items()))
    return f"0/{nodes} nodes are available: {reasons}."
