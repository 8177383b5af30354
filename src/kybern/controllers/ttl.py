"""Tell kubelets how long they may keep secrets and config maps, by the size of the cluster.

Reads Node. Writes Node (the annotation node.alpha.kubernetes.io/ttl, in seconds). The ranges of sizes overlap, so that a
cluster whose size moves around a limit does not change all its nodes each time: a value is kept for as long as the size
is in its range.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import Node
from kybern.loop.controller import Action, Controller, Key, Patch, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

ANNOTATION = "node.alpha.kubernetes.io/ttl"
# Fewest and most nodes, seconds; from pkg/controller/ttl.
_RANGES = ((0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, 2**31, 300))


@dataclass(frozen=True, slots=True)
class State:
    node: Node
    count: int


def observe(view: View, key: Key) -> State | None:
    node = view.get(Node, "", key.name)
    return State(node, sum(1 for _ in view.list(Node))) if node is not None else None


def seconds(count: int, current: str) -> str:
    """The value for a cluster of so many nodes, ``current`` if that is good still."""
    fitting = [str(ttl) for low, high, ttl in _RANGES if low <= count <= high]
    return current if current in fitting else fitting[0]


def diff(state: State) -> Iterable[Action]:
    metadata = state.node.metadata
    current = metadata.annotations.get(ANNOTATION, "")
    wanted = seconds(state.count, current)
    if wanted != current:
        annotations = {**metadata.annotations, ANNOTATION: wanted}
        yield Patch(state.node, replace(state.node, metadata=replace(metadata, annotations=annotations)))


def controller(_settings: Settings) -> Controller[State]:
    return Controller("ttl-controller", Node, observe, diff)
