"""When a volume is to grow on its node, and what its claim says meanwhile; pure (upstream: node_expander.go).

controller: volume's capacity raised, NodeResizePending ──> here: NodeResizeInProgress ──> done: capacity, no marks
└──refused──> NodeResizeInfeasible, NodeResizeError
"""

from datetime import datetime

from kybern.api.core_v1 import PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition
from kybern.machinery.quantity import parse
from kybern.machinery.struct import replace

PENDING, IN_PROGRESS, INFEASIBLE = "NodeResizePending", "NodeResizeInProgress", "NodeResizeInfeasible"
_ERROR = "NodeResizeError"
_OF_RESIZES = frozenset({"Resizing", "FileSystemResizePending", "ControllerResizeError", _ERROR})


def wanted(claim: PersistentVolumeClaim, volume: PersistentVolume) -> str:
    """The size that the node's part is still to be given; empty when there is nothing to do."""
    size, has = volume.spec.capacity.get("storage", "0"), claim.status.capacity.get("storage", "0")
    state = claim.status.allocated_resource_statuses.get("storage", "")
    return size if parse(size) > parse(has) and state in {PENDING, IN_PROGRESS} else ""


def begun(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    """The claim while the driver is asked."""
    marks = {**claim.status.allocated_resource_statuses, "storage": IN_PROGRESS}
    return replace(claim, status=replace(claim.status, allocated_resource_statuses=marks))


def done(claim: PersistentVolumeClaim, size: str) -> PersistentVolumeClaim:
    """The claim once the volume has its size."""
    marks = {k: v for k, v in claim.status.allocated_resource_statuses.items() if k != "storage"}
    status = replace(
        claim.status,
        allocated_resource_statuses=marks,
        capacity={**claim.status.capacity, "storage": size},
        conditions=tuple(one for one in claim.status.conditions if one.type not in _OF_RESIZES),
    )
    return replace(claim, status=status)


def failed(
    claim: PersistentVolumeClaim, why: str, now: datetime, *, infeasible: bool
) -> PersistentVolumeClaim:
    """The claim after the driver refused; ``infeasible``: asking again is of no use until somebody asks for less."""
    text = f"failed to expand pvc with {why}"
    old = next((one for one in claim.status.conditions if (one.type, one.message) == (_ERROR, text)), None)
    fresh = old or PersistentVolumeClaimCondition(
        type=_ERROR, status="True", message=text, last_transition_time=now
    )
    marks = dict(claim.status.allocated_resource_statuses)
    if infeasible:
        marks["storage"] = INFEASIBLE
    status = replace(
        claim.status,
        allocated_resource_statuses=marks,
        conditions=(*(one for one in claim.status.conditions if one.type != _ERROR), fresh),
    )
    return replace(claim, status=status)
