"""Remove nodes whose machine is gone, and mark those whose machine is switched off.

Reads Node. Writes Node.spec.taints, and deletes Node.

Only the machine of a node that is not ready is asked for: what a kubelet says of itself is believed. A node that waits for
cloud-node-controller is given a moment to get its provider ID first. An error of the cloud is no answer: the node stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from kybern.api.core_v1 import Node, Taint
from kybern.api.taints import SHUTDOWN
from kybern.cloud.errands import FindInstance
from kybern.cloud.marks import has_taint, is_uninitialized, without_taint
from kybern.cloud.provider import Instance, Instances
from kybern.cloud.settings import CloudSettings
from kybern.loop.controller import Action, Controller, Delete, Emit, Failure, Key, Patch, View
from kybern.loop.nodes import is_ready
from kybern.machinery.struct import replace

_PATIENCE = 2.0  # seconds after its creation, for a node without a provider ID


@dataclass(frozen=True, slots=True)
class State:
    """``instance`` is of a node that is not ready; of one that is, nobody asked."""

    node: Node
    ready: bool
    instance: Instance | None = None
    failure: Failure | None = None


def observe(instances: Instances, view: View, key: Key) -> State | None:
    node = view.get(Node, "", key.name)
    if node is None or node.metadata.deletion_timestamp is not None:
        return None
    if is_ready(node):
        return State(node, ready=True)
    created = node.metadata.creation_timestamp
    is_new = created is None or (view.now - created).total_seconds() < _PATIENCE
    if is_new and is_uninitialized(node) and not node.spec.provider_id:
        return None
    found = view.told(FindInstance(instances, node.metadata.name, node.spec.provider_id))
    return State(node, ready=False, instance=found, failure=view.failure)


def diff(state: State) -> Iterable[Action]:
    node = state.node
    if state.ready:
        if has_taint(node, SHUTDOWN):
            yield Patch(node, without_taint(node, SHUTDOWN))
    elif state.instance is None:
        if state.failure is not None and isinstance(state.failure.action, Delete):
            failed = f"Failed deleting node {node.metadata.name}: {state.failure.error}"
            yield Emit(node, "Warning", "DeletingNodeFailed", failed)
        text = f"Deleting node {node.metadata.name} because it does not exist in the cloud provider"
        yield Emit(node, "Normal", "DeletingNode", text)
        yield Delete(node)
    elif not state.instance.running and not has_taint(node, SHUTDOWN):
        taints = (*node.spec.taints, Taint(key=SHUTDOWN, effect="NoSchedule"))
        yield Patch(node, replace(node, spec=replace(node.spec, taints=taints)))


def controller(instances: Instances, told: CloudSettings) -> Controller[State]:
    return Controller(
        "cloud-node-lifecycle-controller",
        Node,
        partial(observe, instances),
        diff,
        every=told.node_monitor_period,
        component="node-controller",
        source="cloud-node-lifecycle-controller",
    )
