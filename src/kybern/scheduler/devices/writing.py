"""Write what was decided into a claim: allocation and reservation."""

from collections.abc import Iterable
from datetime import datetime

from kybern.api.core_v1 import ContainerExtendedResourceRequest, Pod
from kybern.api.resource_v1 import AllocationResult, ResourceClaim, ResourceClaimConsumerReference
from kybern.client.verbs import Verbs
from kybern.loop.device_claims import FINALIZER
from kybern.machinery.errors import Conflict, NotFound
from kybern.machinery.struct import replace
from kybern.scheduler.devices.podclaims import reserved

_TRIES = 3


async def write(
    claim: ResourceClaim, given: AllocationResult | None, pod: Pod, client: Verbs, now: datetime | None = None
) -> ResourceClaim:
    """Allocation and reservation in the API; the finalizer first, which keeps an allocated claim from vanishing.

    ``now`` is noted with the allocation: from then on its devices have time to get ready.
    Raises ApiError; a Conflict only after some tries with the newest version.
    """
    for tried in range(_TRIES):
        try:
            if FINALIZER not in claim.metadata.finalizers and (given or claim.status.allocation):
                held = (*claim.metadata.finalizers, FINALIZER)
                claim = await client.patch(
                    claim, replace(claim, metadata=replace(claim.metadata, finalizers=held))
                )
            if reserved(claim, pod) and claim.status.allocation is not None:
                return claim
            allocation = claim.status.allocation or given
            if allocation is not None and allocation.allocation_timestamp is None and now is not None:
                allocation = replace(allocation, allocation_timestamp=now)
            status = replace(
                claim.status,
                allocation=allocation,
                reserved_for=(*claim.status.reserved_for, _user(pod)),
            )
            return await client.patch(claim, replace(claim, status=status), "status")
        except Conflict:
            if tried == _TRIES - 1:
                raise
            claim = await _again(claim, given, client)
    raise AssertionError("the last try returns or raises")


async def _again(claim: ResourceClaim, given: AllocationResult | None, client: Verbs) -> ResourceClaim:
    """The claim's newest version. Raises Conflict when it is another claim, or somebody else decided on its devices."""
    meta = claim.metadata
    newest = await client.get(ResourceClaim, meta.name, meta.namespace)
    if newest.metadata.uid != meta.uid:
        raise Conflict(f"resourceclaim {meta.namespace}/{meta.name} was replaced")
    if (newest.status.allocation is None) != (given is not None):
        raise Conflict(f"allocation of resourceclaim {meta.namespace}/{meta.name} has changed")
    return newest


def _user(pod: Pod) -> ResourceClaimConsumerReference:
    return ResourceClaimConsumerReference(resource="pods", name=pod.metadata.name, uid=pod.metadata.uid)


async def tell(
    pod: Pod, claim: ResourceClaim, mapped: Iterable[ContainerExtendedResourceRequest], client: Verbs
) -> None:
    """Say in the pod's status which claim has its extended resources, for the kubelet. Raises ApiError."""
    meta = pod.metadata
    requests = [
        {
            "containerName": one.container_name,
            "resourceName": one.resource_name,
            "requestName": one.request_name,
        }
        for one in mapped
    ]
    status = {"resourceClaimName": claim.metadata.name, "requestMappings": requests}
    body = {"metadata": {"uid": meta.uid}, "status": {"extendedResourceClaimStatus": status}}
    await client.patch_raw(Pod, meta.namespace, meta.name, body, "strategic", "status")


async def remove(claim: ResourceClaim, client: Verbs) -> None:
    """Delete a claim that the scheduler made; what keeps it from vanishing first. Raises ApiError."""
    try:
        held = tuple(one for one in claim.metadata.finalizers if one != FINALIZER)
        if held != claim.metadata.finalizers:
            claim = await client.patch(
                claim, replace(claim, metadata=replace(claim.metadata, finalizers=held))
            )
        await client.delete(claim)
    except NotFound:
        return
