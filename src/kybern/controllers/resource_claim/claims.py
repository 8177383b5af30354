"""A claim that pods have reserved: those that are gone or done are struck, and what nobody uses is free again. Pure.

A pod that the cache does not know is asked for before its reservation is struck: the scheduler may have just placed it.
A claim whose last user went is deallocated, so that its next one may go to another node. The finalizer that keeps an
allocated claim from vanishing is removed when nothing is allocated, not before, and of a claim that stays not at once:
the scheduler writes it down before it allocates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Pod
from kybern.api.meta_v1 import OwnerReference
from kybern.api.resource_v1 import ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus
from kybern.controllers.resource_claim.pods import is_done
from kybern.loop.controller import Action, Again, Delete, Patch, PatchStatus, View
from kybern.loop.device_claims import FINALIZER
from kybern.loop.owners import controller_of
from kybern.machinery.struct import replace

_UNTOUCHED = 10.0  # seconds for which a claim has to stay as it is before its finalizer goes


@dataclass(frozen=True, slots=True)
class State:
    """A claim, its users' pods by name as far as they are there, and the pod that owns it. ``age`` in seconds."""

    claim: ResourceClaim
    pods: Mapping[str, Pod]
    owner: Pod | None
    age: float


def observe(view: View, namespace: str, name: str) -> State | None:
    claim = view.get(ResourceClaim, namespace, name)
    if claim is None:
        return None
    pods = {}
    for user in filter(_is_pod, claim.status.reserved_for):
        pod = view.get(Pod, namespace, user.name) or view.live(Pod, namespace, user.name)
        if pod is not None:
            pods[user.name] = pod
    own = owner(claim)
    age = (view.now - view.arrived(claim)).total_seconds()
    return State(claim, pods, view.get(Pod, namespace, own.name) if own is not None else None, age)


def owner(claim: ResourceClaim) -> OwnerReference | None:
    """The pod that a claim was made for."""
    found = controller_of(claim)
    return found if found is not None and (found.api_version, found.kind) == ("v1", "Pod") else None


def _is_pod(user: ResourceClaimConsumerReference) -> bool:
    return (user.api_group, user.resource) == ("", "pods")


def _uses(state: State, user: ResourceClaimConsumerReference) -> bool:
    if not _is_pod(user):
        return True
    pod = state.pods.get(user.name)
    return pod is not None and pod.metadata.uid == user.uid and not is_done(pod)


def diff(state: State) -> Iterable[Action]:
    claim, held = state.claim, FINALIZER in state.claim.metadata.finalizers
    users = tuple(user for user in claim.status.reserved_for if _uses(state, user))
    deleting = claim.metadata.deletion_timestamp is not None
    if users != claim.status.reserved_for:
        status = replace(claim.status, reserved_for=users)
        yield PatchStatus(claim, replace(claim, status=status if users or not held else _freed(status)))
        return
    if users:
        return
    if held and deleting and claim.status.allocation is not None:
        yield PatchStatus(claim, replace(claim, status=_freed(claim.status)))
        return
    if held and claim.status.allocation is None:
        if not deleting and state.age < _UNTOUCHED:
            yield Again(_UNTOUCHED - state.age)
        else:
            left = tuple(one for one in claim.metadata.finalizers if one != FINALIZER)
            yield Patch(claim, replace(claim, metadata=replace(claim.metadata, finalizers=left)))
            return
    own = owner(claim)
    if own is None or state.owner is None or deleting:
        return
    if state.owner.metadata.uid != own.uid or is_done(state.owner):
        yield Delete(claim)


def _freed(status: ResourceClaimStatus) -> ResourceClaimStatus:
    return replace(status, allocation=None, devices=())
