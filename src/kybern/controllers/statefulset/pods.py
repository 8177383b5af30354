"""The pod of an ordinal and the claims that outlive it; pure."""

import re
from collections.abc import Iterable

from kybern.api.apps_v1 import StatefulSet
from kybern.api.core_v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource,
    Pod,
    PodTemplateSpec,
    Volume,
)
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.loop.owners import controller_of, controller_reference
from kybern.loop.revisions import LABEL
from kybern.loop.templates import labelled, pod_of, with_spec
from kybern.machinery.struct import replace

POD_NAME = "statefulset.kubernetes.io/pod-name"
INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(pod: Pod, wanted: StatefulSet) -> int | None:
    """The number in a pod's name; None when the name is not one that the set gives."""
    found = _NAME.fullmatch(pod.metadata.name)
    if found is None or found[1] != wanted.metadata.name:
        return None
    return int(found[2])


def revision_of(pod: Pod) -> str:
    return pod.metadata.labels.get(LABEL, "")


def claim_name(template: PersistentVolumeClaim, wanted: StatefulSet, ordinal: int) -> str:
    return f"{template.metadata.name}-{wanted.metadata.name}-{ordinal}"


def new_pod(wanted: StatefulSet, template: PodTemplateSpec, revision: str, ordinal: int) -> Pod:
    pod = pod_of(wanted, template, f"{wanted.metadata.name}-{ordinal}", f"{wanted.metadata.name}-")
    pod = with_spec(pod, hostname=pod.metadata.name, subdomain=wanted.spec.service_name)
    return labelled(identified(with_storage(pod, wanted, ordinal), ordinal), labels={LABEL: revision})


def identified(pod: Pod, ordinal: int) -> Pod:
    """The labels that name one pod of a set, for services that stand for a single pod."""
    return labelled(pod, labels={POD_NAME: pod.metadata.name, INDEX: str(ordinal)})


def with_storage(pod: Pod, wanted: StatefulSet, ordinal: int) -> Pod:
    """A volume for every claim template, in the place of the template's of that name."""
    claimed = tuple(
        Volume(
            name=one.metadata.name,
            persistent_volume_claim=PersistentVolumeClaimVolumeSource(
                claim_name=claim_name(one, wanted, ordinal)
            ),
        )
        for one in wanted.spec.volume_claim_templates
    )
    names = {one.name for one in claimed}
    others = tuple(one for one in pod.spec.volumes if one.name not in names)
    return with_spec(pod, volumes=(*claimed, *others))


def new_claim(template: PersistentVolumeClaim, wanted: StatefulSet, ordinal: int) -> PersistentVolumeClaim:
    labels = {**template.metadata.labels, **wanted.spec.selector.match_labels}
    claim = replace(
        template,
        metadata=ObjectMeta(
            name=claim_name(template, wanted, ordinal),
            namespace=wanted.metadata.namespace,
            labels=labels,
            annotations=template.metadata.annotations,
        ),
        status=PersistentVolumeClaim().status,
    )
    return kept_by(claim, wanted, None, leaving=False)


def _policy(wanted: StatefulSet) -> tuple[bool, bool]:
    """Whether claims go with the set, and whether they go when the set gets smaller."""
    given = wanted.spec.persistent_volume_claim_retention_policy
    if given is None:
        return False, False
    return given.when_deleted == "Delete", given.when_scaled == "Delete"


def kept_by(
    claim: PersistentVolumeClaim, wanted: StatefulSet, pod: Pod | None, *, leaving: bool
) -> PersistentVolumeClaim:
    """The claim with the owners that the retention policy gives it; one that someone else controls is left alone."""
    with_set, with_scale = _policy(wanted)
    by_pod = pod is not None and leaving and with_scale
    by_set = with_set and not by_pod
    ours = {wanted.metadata.uid, *((pod.metadata.uid,) if pod is not None else ())}
    controller = controller_of(claim)
    if controller is not None and controller.uid not in ours:
        return claim
    references: list[OwnerReference] = [one for one in claim.metadata.owner_references if one.uid not in ours]
    if by_set:
        references.append(controller_reference(wanted))
    if by_pod:
        references.append(controller_reference(pod))
    if {one.uid for one in references} == {one.uid for one in claim.metadata.owner_references}:
        return claim
    return replace(claim, metadata=replace(claim.metadata, owner_references=tuple(references)))


def is_going(claim: PersistentVolumeClaim, pod_name: str) -> bool:
    """Whether a claim will be gone soon: deleted, or owned by an earlier pod of this name. No pod may start on it."""
    owned = (one.kind == "Pod" and one.name == pod_name for one in claim.metadata.owner_references)
    return claim.metadata.deletion_timestamp is not None or any(owned)


def claims_of(wanted: StatefulSet, ordinal: int) -> Iterable[str]:
    for template in wanted.spec.volume_claim_templates:
        yield claim_name(template, wanted, ordinal)
