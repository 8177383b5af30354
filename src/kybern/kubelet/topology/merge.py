"""The nodes that suit everything a container asks for, by the policy. Pure.

Upstream looks at every combination of hints; here they are combined one kind after the other, and of those that come to
the same only one is kept: with eight nodes and three devices that is a few hundred steps instead of sixteen million.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kybern.kubelet.topology.hints import Hint, Hints, Nodes, Numa

POLICIES = ("none", "best-effort", "restricted", "single-numa-node")
SCOPES = ("container", "pod")


@dataclass(frozen=True, slots=True)
class Policy:
    """``closest``: of sets of the same size, the one whose nodes are nearest to each other (prefer-closest-numa-nodes)."""

    name: str = "none"
    scope: str = "container"
    closest: bool = False

    @property
    def guarantees(self) -> bool:
        """Whether what a container gets is on one node for certain."""
        return self.name == "single-numa-node"


def merge(asked: Iterable[Hints], policy: Policy, numa: Numa) -> tuple[Hint, bool]:
    """The best hint, and whether the pod may run with it."""
    kinds = [_told(hints) for hints in asked]
    narrowest = _widest_need(kinds)
    if policy.guarantees:
        kinds = [[hint for hint in kind if _single(hint)] for kind in kinds]
        narrowest = _widest_need(kinds)
    best = _best(_combined(kinds), narrowest, policy, numa)
    if policy.guarantees and best.nodes == numa.all:
        best = Hint(None, best.preferred)
    return best, best.preferred or policy.name == "best-effort"


def _told(hints: Hints) -> list[Hint]:
    if hints is None:
        return [Hint(None, True)]
    return list(hints) or [Hint(None, False)]


def _single(hint: Hint) -> bool:
    return hint.preferred and (hint.nodes is None or hint.nodes.bit_count() == 1)


def _combined(kinds: Sequence[Sequence[Hint]]) -> set[Hint]:
    found = {Hint(None, True)}
    for kind in kinds:
        found = {_both(one, other) for one in found for other in kind}
    return found


def _both(one: Hint, other: Hint) -> Hint:
    """What suits both; preferred only where both would prefer exactly that."""
    preferred = one.preferred and other.preferred
    if one.nodes is None:
        return Hint(other.nodes, preferred)
    if other.nodes is None:
        return Hint(one.nodes, preferred)
    return Hint(one.nodes & other.nodes, preferred and one.nodes == other.nodes)


def _widest_need(kinds: Iterable[Sequence[Hint]]) -> int:
    """How many nodes the kind takes that needs the most of them."""
    each = ([hint.nodes.bit_count() for hint in kind if hint.nodes is not None] for kind in kinds)
    return max((min(sizes) for sizes in each if sizes), default=0)


def _best(found: Iterable[Hint], need: int, policy: Policy, numa: Numa) -> Hint:
    """Preferred ones first; then few nodes, but of those that are not preferred rather as many as the widest need."""
    usable = [
        Hint(numa.all if hint.nodes is None else hint.nodes & numa.all, hint.preferred) for hint in found
    ]
    return min(
        (hint for hint in usable if hint.nodes),
        key=lambda hint: _worth(hint, need, policy, numa),
        default=Hint(numa.all, False),
    )


def _worth(hint: Hint, need: int, policy: Policy, numa: Numa) -> tuple[float, ...]:
    assert hint.nodes is not None
    size = hint.nodes.bit_count()
    apart = _apart(hint.nodes, numa) if policy.closest and not policy.guarantees else 0.0
    if hint.preferred or size == need:
        return (0 if hint.preferred else 1, size, apart, hint.nodes)
    if size < need:
        return 2, -size, apart, hint.nodes
    return 3, size, apart, hint.nodes


def _apart(nodes: Nodes, numa: Numa) -> float:
    """How far the nodes of a set are from each other, on average."""
    chosen = [node for node in numa.nodes if nodes >> node & 1]
    each = [numa.distances[one][other] for one in chosen for other in chosen]
    return sum(each) / len(each)
