"""The API's objects as this driver writes them: a volume for a claim, and a claim whose volume grows. Pure."""

from datetime import datetime

from kybern.api.core_v1 import (
    CSIPersistentVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
)
from kybern.api.storage_v1 import StorageClass
from kybern.local_volumes.names import DRIVER, NODE_KEY
from kybern.loop import made_volumes
from kybern.loop.claims import requested
from kybern.loop.made_volumes import volume_name
from kybern.loop.volume_marks import (
    IDENTITY,
    SELECTED_NODE,
)
from kybern.machinery.struct import replace

RESIZING, INFEASIBLE = "Resizing", "ControllerResizeInfeasible"


def volume_for(claim: PersistentVolumeClaim, found: StorageClass, node: str) -> PersistentVolume:
    """The volume that was made for a claim on a node."""
    source = CSIPersistentVolumeSource(
        driver=DRIVER, volume_handle=volume_name(claim), volume_attributes={IDENTITY: f"{DRIVER}-{node}"}
    )
    return made_volumes.volume_for(claim, found, source, requested(claim), (NODE_KEY, node))


def with_node(claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
    """The claim with a node chosen for it; "" takes the choice back, so that a scheduler makes another one."""
    marks = {key: value for key, value in claim.metadata.annotations.items() if key != SELECTED_NODE}
    if node:
        marks[SELECTED_NODE] = node
    return replace(claim, metadata=replace(claim.metadata, annotations=marks))


def refused(claim: PersistentVolumeClaim, wanted: str, now: datetime) -> PersistentVolumeClaim:
    """The claim whose volume cannot grow: upstream's marks, which also allow to ask for less again."""
    fresh = PersistentVolumeClaimCondition(type=RESIZING, status="True", last_transition_time=now)
    old = next((one for one in claim.status.conditions if one.type == RESIZING), fresh)
    status = replace(
        claim.status,
        allocated_resources={**claim.status.allocated_resources, "storage": wanted},
        allocated_resource_statuses={**claim.status.allocated_resource_statuses, "storage": INFEASIBLE},
        conditions=(*(one for one in claim.status.conditions if one.type != RESIZING), old),
    )
    return replace(claim, status=status)


def grown(claim: PersistentVolumeClaim, wanted: str) -> PersistentVolumeClaim:
    """The claim whose volume has its new size."""
    left = {k: v for k, v in claim.status.allocated_resource_statuses.items() if k != "storage"}
    status = replace(
        claim.status,
        allocated_resources={**claim.status.allocated_resources, "storage": wanted},
        allocated_resource_statuses=left,
        capacity={**claim.status.capacity, "storage": wanted},
        conditions=tuple(one for one in claim.status.conditions if one.type != RESIZING),
    )
    return replace(claim, status=status)
