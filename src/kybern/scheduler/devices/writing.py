"""Write what was decided into a claim: allocation and reservation."""

from kybern.api.core_v1 import Pod
from kybern.api.resource_v1 import AllocationResult, ResourceClaim, ResourceClaimConsumerReference
from kybern.client.verbs import Verbs
from kybern.loop.device_claims import FINALIZER
from kybern.machinery.errors import Conflict
from kybern.machinery.struct import replace
from kybern.scheduler.devices.podclaims import reserved

_TRIES = 3


async def write(
    claim: ResourceClaim, given: AllocationResult | None, pod: Pod, client: Verbs
) -> ResourceClaim:
    """Allocation and reservation in the API; the finalizer first, which keeps an allocated claim from vanishing.

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
            status = replace(
                claim.status,
                allocation=claim.status.allocation or given,
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
