"""What a node says of itself, and whether it keeps pods off; pure."""

from collections.abc import Iterable

from kybern.api.core_v1 import Node, NodeCondition, Toleration
from kybern.api.tolerations import tolerated


def keeps_off(node: Node, tolerations: Iterable[Toleration], *effects: str) -> bool:
    """Whether a taint of one of these effects is not tolerated."""
    given = tuple(tolerations)
    return any(taint.effect in effects and not tolerated(taint, given) for taint in node.spec.taints)


def condition(node: Node, kind: str) -> NodeCondition | None:
    return next((one for one in node.status.conditions if one.type == kind), None)


def is_ready(node: Node) -> bool:
    found = condition(node, "Ready")
    return found is not None and found.status == "True"
