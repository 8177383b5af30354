"""Which node a pod goes to, or why none takes it. Pure.

Filters run in the order of the plugins; a node that one refuses is not shown to the next, so that each refused node counts
once, as upstream counts it. Among the best nodes of equal score the pod's own uid decides: random for a crowd of pods, the
same for one pod whenever it is asked.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kybern.scheduler.framework import Plugin
from kybern.scheduler.table import Mask, Numbers, PodFacts, Table

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True)
class Placed:
    node: str


@dataclass(frozen=True, slots=True)
class Refused:
    """``plugins`` are those that refused at least one node; ``message`` is what the pod's condition and event say."""

    message: str
    plugins: frozenset[str]


@dataclass(slots=True)
class _Count:
    """Who refused how many nodes and why."""

    reasons: dict[str, int]
    plugins: set[str]
    helped: int = 0


def schedule(facts: PodFacts, table: Table, plugins: Sequence[Plugin]) -> Placed | Refused:
    count = _Count({}, set())
    left = _filtered(facts, table, plugins, count)
    if not left.any():
        return Refused(_message(len(table), count), frozenset(count.plugins))
    return Placed(table.names[_best(facts, table, plugins, left)])


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
                count.reasons[refusal.reason] = count.reasons.get(refusal.reason, 0) + number
                count.plugins.add(plugin.name)
                refused |= against
                if not refusal.helped:
                    helped &= ~against
        count.helped += int(np.count_nonzero(refused & helped))
        left &= ~refused
        if not left.any():
            break
    return left


def _best(facts: PodFacts, table: Table, plugins: Sequence[Plugin], left: Mask) -> int:
    columns = np.flatnonzero(left)
    if len(columns) == 1:
        return int(columns[0])
    total: Numbers = np.zeros(len(columns), np.int64)
    for plugin in plugins:
        scores = plugin.score(facts, table) if plugin.score else None
        if scores is None:
            continue
        scores = scores[columns]
        if plugin.normalize:
            scores = plugin.normalize(scores)
        total += plugin.weight * scores
    best = columns[total == total.max()]
    return int(best[zlib.crc32(facts.pod.metadata.uid.encode()) % len(best)])


def _message(nodes: int, count: _Count) -> str:
    """As upstream's FitError: reasons in alphabetical order of ``N reason``."""
    if not nodes:
        return "no nodes available to schedule pods"
    reasons = ", ".join(sorted(f"{number} {reason}" for reason, number in count.reasons.items()))
    others = {NO_VICTIMS: count.helped, NOT_HELPFUL: nodes - count.helped}
    preemption = ", ".join(sorted(f"{number} {reason}" for reason, number in others.items() if number))
    head = f"0/{nodes} nodes are available: "
    return f"{head}{reasons}. preemption: {head}{preemption}."
