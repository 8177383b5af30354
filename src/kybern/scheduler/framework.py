"""The shape of a scheduler plugin: what it refuses and what it prefers, over all nodes at once.

``filter`` yields what stands against nodes: a mask of the refused ones, the reason in upstream's words, and whether moving
other pods away could help. ``refuse`` says the same of one node, in the plain way: it is the oracle in the tests of the
vector form, and the reference for a reader. ``score`` gives each node 0 to 100 (after ``normalize``, if set).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.scheduler.table import Mask, Numbers, PodFacts, Table

MAX_SCORE = 100


class Change(Enum):
    """What can make a pod that nobody took schedulable."""

    NODE_ADDED = auto()
    NODE_CHANGED = auto()
    POD_GONE = auto()
    POD_CHANGED = auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """``helped`` says whether removing other pods could change it (upstream: Unschedulable, not ...AndUnresolvable)."""

    nodes: Mask
    reason: str
    helped: bool = False


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node and what is on it, for the plain form of a plugin."""

    node: Node
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Plugin:
    """Under upstream's name. ``wakes`` are the changes after which a refused pod is worth another try."""

    name: str
    filter: Callable[[PodFacts, Table], Iterable[Refusal]] | None = None
    refuse: Callable[[Pod, NodeInfo], tuple[str, ...]] | None = None
    score: Callable[[PodFacts, Table], Numbers | None] | None = None
    normalize: Callable[[Numbers], Numbers] | None = None
    weight: int = 1
    wakes: frozenset[Change] = frozenset({Change.NODE_ADDED, Change.NODE_CHANGED})


def scaled(scores: Numbers) -> Numbers:
    """The highest becomes 100, the others in proportion; all 0 stay 0."""
    most = int(scores.max(initial=0))
    return scores * MAX_SCORE // most if most else scores


def scaled_down(scores: Numbers) -> Numbers:
    """The same, but the highest becomes 0: for counts of what speaks against a node."""
    if int(scores.max(initial=0)) == 0:
        return np.full_like(scores, MAX_SCORE)
    return MAX_SCORE - scaled(scores)
