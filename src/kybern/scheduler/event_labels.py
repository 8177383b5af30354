"""What happened, in the words of upstream's metrics (ClusterEvent.Label): the resource, and what was done to it. Pure.

Of several things that changed at once the first counts; upstream tells them one after the other, and the first that helps is
the one that is counted.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from kybern.api.core_v1 import Node, Pod
from kybern.machinery.struct import Object
from kybern.scheduler import requests
from kybern.scheduler.changes import Action, Happening

FAILURE, BACKED_OFF, TIMEOUT = "ScheduleAttemptFailure", "BackoffComplete", "UnschedulableTimeout"
FORCED, EARLY = "ForceActivate", "PopFromBackoffQ"
NEW = "UnschedulablePodAdd"

_DONE: Mapping[Action, str] = MappingProxyType({
    Action.ADDED: "Add", Action.CHANGED: "Update", Action.GONE: "Delete",
})  # fmt: skip


def label(what: Happening) -> str:
    if what.kind is Pod:
        return "AssignedPod" + (_of_pod(what.old, what.new) if what.action is Action.CHANGED else _done(what))
    if what.kind is Node and what.action is Action.CHANGED:
        return "Node" + next(_of_node(what.old, what.new), "Update")
    return _resource(what.kind) + _done(what)


def of_waiting(old: Pod, new: Pod) -> str:
    """A pod that waits for a node, and that changed."""
    return "UnschedulablePod" + _of_pod(old, new)


def _done(what: Happening) -> str:
    return _DONE[what.action]


def _resource(kind: type[Object]) -> str:
    """With its group, if it has one."""
    group, has_group, _version = kind.api_version.partition("/")
    return f"{group}/{kind.kind}" if has_group else kind.kind


def _of_node(old: Node, new: Node) -> Iterator[str]:
    if old.spec.unschedulable and not new.spec.unschedulable:
        yield "UpdateNodeTaint"
    if old.status.allocatable != new.status.allocatable:
        yield "UpdateNodeAllocatable"
    if old.metadata.labels != new.metadata.labels:
        yield "UpdateNodeLabel"
    if old.spec.taints != new.spec.taints:
        yield "UpdateNodeTaint"
    if old.metadata.annotations != new.metadata.annotations:
        yield "UpdateNodeAnnotation"
    if old.status.declared_features != new.status.declared_features:
        yield "UpdateNodeDeclaredFeature"


def _of_pod(old: Pod, new: Pod) -> str:
    return next((name for name, changed in _differences(old, new) if changed), "Update")


def _differences(old: Pod, new: Pod) -> Iterator[tuple[str, Any]]:
    before, now = requests.of_pod(old), requests.of_pod(new)
    yield "UpdatePodLabel", old.metadata.labels != new.metadata.labels
    yield "UpdatePodScaleDown", any(now.get(name, 0) < amount for name, amount in before.items())
    yield (
        "UpdatePodSchedulingGatesEliminated",
        bool(old.spec.scheduling_gates) and not new.spec.scheduling_gates,
    )
    yield "UpdatePodToleration", len(old.spec.tolerations) != len(new.spec.tolerations)
    claims = (
        old.status.resource_claim_statuses != new.status.resource_claim_statuses
        or old.status.extended_resource_claim_status != new.status.extended_resource_claim_status
    )
    yield "UpdatePodGeneratedResourceClaim", claims
