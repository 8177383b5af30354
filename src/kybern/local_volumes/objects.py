"""The API's objects as this driver writes them: a volume for a claim, and a claim whose volume grows. Pure."""

from datetime import datetime

from kybern.api.core_v1 import (
    CSIPersistentVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import StorageClass
from kybern.local_volumes.names import DRIVER, NODE_KEY
from kybern.loop.claims import class_of, requested
from kybern.loop.volume_marks import (
    DELETION_SECRET_NAME,
    DELETION_SECRET_NAMESPACE,
    IDENTITY,
    PROVISIONED_BY,
    PROVISIONER_FINALIZER,
    SELECTED_NODE,
)
from kybern.machinery.struct import replace

RESIZING, INFEASIBLE = "Resizing", "ControllerResizeInfeasible"


def volume_name(claim: PersistentVolumeClaim) -> str:
    """Of the volume and, here, of its directory: upstream's provisioners name volumes so."""
    return f"pvc-{claim.metadata.uid}"


def volume_for(claim: PersistentVolumeClaim, found: StorageClass, node: str) -> PersistentVolume:
    """The volume that was made for a claim on a node."""
    name, metadata = volume_name(claim), claim.metadata
    policy = found.reclaim_policy or "Delete"
    rule = NodeSelectorRequirement(key=NODE_KEY, operator="In", values=(node,))
    only = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(rule,)),))
    marks = {PROVISIONED_BY: DRIVER, DELETION_SECRET_NAME: "", DELETION_SECRET_NAMESPACE: ""}
    spec = PersistentVolumeSpec(
        access_modes=claim.spec.access_modes,
        capacity={"storage": requested(claim)},
        claim_ref=ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        ),
        csi=CSIPersistentVolumeSource(
            driver=DRIVER, volume_handle=name, volume_attributes={IDENTITY: f"{DRIVER}-{node}"}
        ),
        mount_options=found.mount_options,
        node_affinity=VolumeNodeAffinity(required=only),
        persistent_volume_reclaim_policy=policy,
        storage_class_name=class_of(claim),
        volume_mode="Filesystem",
    )
    held = (PROVISIONER_FINALIZER,) if policy == "Delete" else ()
    return PersistentVolume(metadata=ObjectMeta(name=name, annotations=marks, finalizers=held), spec=spec)


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
