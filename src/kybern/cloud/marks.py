"""What the cloud's controllers leave on nodes, and what is told to them there; pure."""

from kybern.api.core_v1 import Node
from kybern.api.taints import UNINITIALIZED
from kybern.machinery.struct import replace

PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip"
"""The annotation by which a kubelet tells which of its machine's addresses is to be the node's (its --node-ip)."""
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


def has_taint(node: Node, key: str) -> bool:
    return any(taint.key == key for taint in node.spec.taints)


def is_uninitialized(node: Node) -> bool:
    """Whether it waits for the cloud, as a kubelet with --cloud-provider=external registers it."""
    return has_taint(node, UNINITIALIZED)


def without_taint(node: Node, key: str) -> Node:
    kept = tuple(taint for taint in node.spec.taints if taint.key != key)
    return replace(node, spec=replace(node.spec, taints=kept))
