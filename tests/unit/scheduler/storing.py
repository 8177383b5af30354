"""Claims, volumes and what else storage consists of, for the scheduler's tests."""

from datetime import UTC, datetime
from typing import Any

from kybern.api.core_v1 import (
    CSIPersistentVolumeSource,
    EphemeralVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    Pod,
    TopologySelectorLabelRequirement,
    TopologySelectorTerm,
    Volume,
    VolumeNodeAffinity,
    VolumeResourceRequirements,
)
from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.api.storage_v1 import (
    CSIDriver,
    CSIDriverSpec,
    CSINode,
    CSINodeDriver,
    CSINodeSpec,
    CSIStorageCapacity,
    StorageClass,
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
    VolumeNodeResources,
)
from kybern.loop.volume_marks import BIND_COMPLETED, LATER, NO_PROVISIONER, SELECTED_NODE
from tests.unit.scheduler.making import pod

GONE = datetime(2026, 1, 1, tzinfo=UTC)


def using(*names: str, name: str = "p", **more: Any) -> Pod:
    """A pod of these claims; "~x" is one that is made for the pod's volume x."""
    return pod(name, volumes=tuple(_volume(one) for one in names), **more)


def _volume(name: str) -> Volume:
    if name.startswith("~"):
        return Volume(name=name[1:], ephemeral=EphemeralVolumeSource())
    return Volume(name=name, persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name=name))


def claim(name: str, volume: str = "", of: str = "", **more: Any) -> PersistentVolumeClaim:
    """Bound when it names a volume, unless ``done`` is False; ``at`` is the node that it was promised."""
    marks = {BIND_COMPLETED: "yes"} if volume and more.get("done", True) else {}
    marks |= {SELECTED_NODE: more["at"]} if more.get("at") else {}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            namespace=more.get("namespace", "default"),
            name=name,
            uid=f"uid-{name}",
            resource_version=more.get("version", "1"),
            annotations=marks | more.get("marks", {}),
            owner_references=more.get("owners", ()),
            deletion_timestamp=more.get("ends"),
        ),
        spec=PersistentVolumeClaimSpec(
            volume_name=volume,
            storage_class_name=of,
            access_modes=more.get("modes", ("ReadWriteOnce",)),
            volume_mode=more.get("mode", ""),
            selector=more.get("selector"),
            resources=VolumeResourceRequirements(requests={"storage": more.get("size", "1Gi")}),
        ),
        status=PersistentVolumeClaimStatus(phase=more.get("phase", "Bound" if volume else "Pending")),
    )


def volume(name: str, *nodes: str, of: str = "", **more: Any) -> PersistentVolume:
    """On these nodes, or on all; ``by`` is the claim that it names, with ``uid``."""
    hosts = NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=nodes)
    terms = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(hosts,)),))
    by = more.get("by")
    return PersistentVolume(
        metadata=ObjectMeta(
            name=name,
            labels=more.get("labels", {}),
            resource_version=more.get("version", "1"),
            deletion_timestamp=more.get("ends"),
        ),
        spec=PersistentVolumeSpec(
            node_affinity=VolumeNodeAffinity(required=terms) if nodes else None,
            storage_class_name=of,
            capacity={"storage": more.get("size", "1Gi")},
            access_modes=more.get("modes", ("ReadWriteOnce",)),
            volume_mode=more.get("mode", ""),
            csi=CSIPersistentVolumeSource(driver=more["driver"], volume_handle=name)
            if more.get("driver")
            else None,
            claim_ref=ObjectReference(namespace="default", name=by, uid=more.get("uid", f"uid-{by}"))
            if by
            else None,
        ),
        status=PersistentVolumeStatus(phase=more.get("phase", "Bound" if by else "Available")),
    )


def storage_class(
    name: str, provisioner: str = NO_PROVISIONER, *zones: str, mode: str = LATER
) -> StorageClass:
    within = TopologySelectorLabelRequirement(key="zone", values=zones)
    return StorageClass(
        metadata=ObjectMeta(name=name),
        provisioner=provisioner,
        volume_binding_mode=mode,
        allowed_topologies=(TopologySelectorTerm(match_label_expressions=(within,)),) if zones else (),
    )


def driver(name: str, counts: bool = True) -> CSIDriver:
    return CSIDriver(metadata=ObjectMeta(name=name), spec=CSIDriverSpec(storage_capacity=counts))


def store(of: str, size: str, largest: str = "", **labels: str) -> CSIStorageCapacity:
    return CSIStorageCapacity(
        metadata=ObjectMeta(namespace="kube-system", name=f"{of}-{size}-{'-'.join(labels.values())}"),
        storage_class_name=of,
        capacity=size,
        maximum_volume_size=largest,
        node_topology=LabelSelector(match_labels=labels),
    )


def csi_node(name: str, **most: int | None) -> CSINode:
    """Limits by the driver's name, where _ stands for a dot."""
    drivers = tuple(
        CSINodeDriver(
            name=key.replace("_", "."),
            node_id=name,
            allocatable=VolumeNodeResources(count=count) if count is not None else None,
        )
        for key, count in most.items()
    )
    return CSINode(metadata=ObjectMeta(name=name), spec=CSINodeSpec(drivers=drivers))


def attachment(name: str, node: str, of: str) -> VolumeAttachment:
    source = VolumeAttachmentSource(persistent_volume_name=of)
    return VolumeAttachment(
        metadata=ObjectMeta(name=name),
        spec=VolumeAttachmentSpec(attacher="d", node_name=node, source=source),
    )
