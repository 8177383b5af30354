"""Nodes that were promised to pods for which others leave (status.nominatedNodeName). Pure.

Until such a pod is bound, pods of lower priority see its node as if it were there already; so nobody slips into the room
that others are making for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from kybern.api.core_v1 import Pod
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.table import Table


class Promises:
    """Promised nodes by the uid of the pod. ``leaving`` are those that were told to go, by uid."""

    def __init__(self) -> None:
        self._promised: dict[str, tuple[str, PodFacts]] = {}
        self.leaving: set[str] = set()

    def of(self, uid: str) -> str:
        """The node that a pod was promised, "" for none."""
        return self._promised[uid][0] if uid in self._promised else ""

    def make(self, node: str, facts: PodFacts) -> tuple[Pod, ...]:
        """Promise a node; gives the pods of lower priority whose promise of it is void now."""
        uid = facts.pod.metadata.uid
        void = [
            other.pod
            for key, (where, other) in self._promised.items()
            if where == node and key != uid and other.priority < facts.priority
        ]
        for pod in void:
            del self._promised[pod.metadata.uid]
        self._promised[uid] = node, facts
        return tuple(void)

    def end(self, uid: str) -> None:
        self._promised.pop(uid, None)

    def gone(self, uid: str) -> None:
        """A pod that is there no more."""
        self.leaving.discard(uid)
        self.end(uid)

    def before(self, pod: Pod) -> Iterator[tuple[str, PodFacts]]:
        """The promises that a pod has to respect: those to others of no lower priority."""
        for uid, (node, facts) in self._promised.items():
            if uid != pod.metadata.uid and facts.priority >= (pod.spec.priority or 0):
                yield node, facts

    @contextmanager
    def kept(self, pod: Pod, table: Table) -> Iterator[None]:
        """Count on their nodes, for one decision, those that the pod has to respect."""
        counted = [one for one in self.before(pod) if not table.placed_on(one[1].pod.metadata.uid)]
        for node, facts in counted:
            table.place(facts.pod.metadata.uid, node, facts)
        try:
            yield
        finally:
            for _, facts in counted:
                table.unplace(facts.pod.metadata.uid)
