"""The claims that a pod uses, and whether they are as they should be. Pure."""

from collections.abc import Iterator

from kybern.api.core_v1 import Pod
from kybern.api.resource_v1 import ResourceClaim
from kybern.scheduler.objects import Objects


class Missing(Exception):
    """A claim of the pod's that is not as it should be."""


def names(pod: Pod) -> Iterator[tuple[str, bool]]:
    """The pod's claims, and whether each was made for it. Raises Missing for one that is not made yet."""
    made = {one.name: one.resource_claim_name for one in pod.status.resource_claim_statuses}
    for one in pod.spec.resource_claims:
        if one.resource_claim_name:
            yield one.resource_claim_name, False
        elif one.name not in made:
            raise Missing(
                f'pod "{pod.metadata.namespace}/{pod.metadata.name}": ResourceClaim not created yet'
            )
        elif made[one.name]:
            yield made[one.name], True


def claims(pod: Pod, objects: Objects) -> tuple[ResourceClaim, ...]:
    """Raises Missing."""
    found = []
    for name, own in names(pod):
        claim = objects.get(ResourceClaim, name, pod.metadata.namespace)
        if claim is None:
            raise Missing(f'resourceclaim "{name}" not found')
        if claim.metadata.deletion_timestamp is not None:
            raise Missing(f'resourceclaim "{name}" is being deleted')
        if own and all(one.uid != pod.metadata.uid for one in claim.metadata.owner_references):
            at = f"{claim.metadata.namespace}/{name}"
            who = f"{pod.metadata.namespace}/{pod.metadata.name}"
            raise Missing(f"ResourceClaim {at} was not created for pod {who} (pod is not owner)")
        found.append(claim)
    return tuple(found)


def reserved(claim: ResourceClaim, pod: Pod) -> bool:
    return any(one.uid == pod.metadata.uid for one in claim.status.reserved_for)
