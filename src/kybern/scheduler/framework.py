"""The shape of a scheduler plugin: what it refuses and what it prefers, over all nodes at once.

``filter`` yields what stands against nodes: a mask of the refused ones, the reason in upstream's words, and whether moving
other pods away could help. ``refuse`` says the same of one node, in the plain way: it is the oracle in the tests of the
vector form, and the reference for a reader. ``score`` gives each node 0 to 100 (after ``normalize``, if set); only those
that are left count.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.machinery.struct import Object
from kybern.scheduler.changes import Happening, Hint, Wake
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.objects import Objects, namespace_labels
from kybern.scheduler.table import Mask, Numbers, Table

MAX_SCORE = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """``helped`` says whether removing other pods could change it (upstream: Unschedulable, not ...AndUnresolvable).

    ``about_pod``: the reason is the pod's, whatever the node, and is told without a number of nodes.
    """

    nodes: Mask
    reason: str
    helped: bool = False
    about_pod: bool = False


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node and what is on it, for the plain form of a plugin."""

    node: Node
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """All there is, for the plain form of a plugin that looks at more than one node."""

    nodes: tuple[NodeInfo, ...] = ()
    objects: Objects = field(default_factory=Objects)

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        return namespace_labels(self.objects, name)


type Refuse = Callable[[Pod, NodeInfo, Cluster], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Plugin:
    """Under upstream's name.

    ``enqueue`` says why a pod must not be tried yet, ``wakes`` what may help a refused one, ``needs`` which objects beside
    nodes and pods are looked at.
    """

    name: str
    enqueue: Callable[[Pod], str | None] | None = None
    filter: Callable[[PodFacts, Table], Iterable[Refusal]] | None = None
    refuse: Refuse | None = None
    score: Callable[[PodFacts, Table, Mask], Numbers | None] | None = None
    normalize: Callable[[Numbers], Numbers] | None = None
    weight: int = 1
    wakes: tuple[Wake, ...] = ()
    needs: tuple[type[Object], ...] = ()


def relents(refuse: Refuse) -> Hint:
    """A hint for plugins that look at one node only: it would not refuse the pod now, and did before."""
    nothing = Cluster()

    def hint(facts: PodFacts, what: Happening) -> bool:
        before = what.old is None or refuse(facts.pod, NodeInfo(what.old), nothing)
        return bool(before) and not refuse(facts.pod, NodeInfo(what.new), nothing)

    return hint


def scaled(scores: Numbers) -> Numbers:
    """The highest becomes 100, the others in proportion; all 0 stay 0."""
    most = int(scores.max(initial=0))
    return scores * MAX_SCORE // most if most else scores


def scaled_down(scores: Numbers) -> Numbers:
    """The same, but the highest becomes 0: for counts of what speaks against a node."""
    if int(scores.max(initial=0)) == 0:
        return np.full_like(scores, MAX_SCORE)
    return MAX_SCORE - scaled(scores)
