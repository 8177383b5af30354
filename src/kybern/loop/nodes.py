"""Whether a node keeps pods off; pure."""

from collections.abc import Iterable

from kybern.api.core_v1 import Node, Toleration
from kybern.api.tolerations import tolerated


def keeps_off(node: Node, tolerations: Iterable[Toleration], *effects: str) -> bool:
    """Whether a taint of one of these effects is not tolerated."""
    given = tuple(tolerations)
    return any(taint.effect in effects and not tolerated(taint, given) for taint in node.spec.taints)
