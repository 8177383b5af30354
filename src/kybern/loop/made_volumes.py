"""The volume object of a claim, as drivers of ours write it once they have made the volume; pure.

The fields, the annotations and the finalizer are those of upstream's external-provisioner.
"""

from kybern.api.core_v1 import (
    CSIPersistentVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import StorageClass
from kybern.loop.claims import class_of
from kybern.loop.volume_marks import (
    DELETION_SECRET_NAME,
    DELETION_SECRET_NAMESPACE,
    PROVISIONED_BY,
    PROVISIONER_FINALIZER,
)


def volume_name(claim: PersistentVolumeClaim) -> str:
    """Of the volume, and of what the driver has made: upstream's provisioners name volumes so."""
    return f"pvc-{claim.metadata.uid}"


def volume_for(
    claim: PersistentVolumeClaim,
    found: StorageClass,
    source: CSIPersistentVolumeSource,
    size: str,
    where: tuple[str, str],
) -> PersistentVolume:
    """``size`` as the API has it; ``where`` is a label and its value, of the nodes that can have the volume."""
    key, value = where
    metadata, policy = claim.metadata, found.reclaim_policy or "Delete"
    rule = NodeSelectorRequirement(key=key, operator="In", values=(value,))
    only = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(rule,)),))
    marks = {PROVISIONED_BY: source.driver, DELETION_SECRET_NAME: "", DELETION_SECRET_NAMESPACE: ""}
    spec = PersistentVolumeSpec(
        access_modes=claim.spec.access_modes,
        capacity={"storage": size},
        claim_ref=ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        ),
        csi=source,
        mount_options=found.mount_options,
        node_affinity=VolumeNodeAffinity(required=only),
        persistent_volume_reclaim_policy=policy,
        storage_class_name=class_of(claim),
        volume_mode=claim.spec.volume_mode or "Filesystem",
    )
    held = (PROVISIONER_FINALIZER,) if policy == "Delete" else ()
    return PersistentVolume(
        metadata=ObjectMeta(name=volume_name(claim), annotations=marks, finalizers=held), spec=spec
    )
