"""A pod goes where its device claims are allocated, or where devices can be found for them (KEP-4381).

Claims that are allocated keep a pod to the nodes that can use their devices. For the others devices are looked for, node by
node (``scheduler.devices``); those of the chosen node are written into the claims before the pod is bound. So are devices
for extended resources that a node does not have itself. A claim that this pod alone needs and that leaves it no node is
deallocated: the next attempt may choose other devices.

Texts are upstream's (plugins/dynamicresources).
"""

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from kybern.api.core_v1 import Node, Pod
from kybern.api.resource_v1 import DeviceClass, ResourceClaim, ResourceSlice
from kybern.daemon.flags import duration
from kybern.loop.device_claims import MOST_USERS
from kybern.machinery.causes import invalid
from kybern.machinery.struct import replace
from kybern.scheduler import renewals, requests
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.devices.conditions import SECONDS
from kybern.scheduler.devices.extended import owned
from kybern.scheduler.devices.found import ELSEWHERE, STALE, Found, hopeless, look, observe, refusals, usable
from kybern.scheduler.devices.offers import NAME, NOT_ALL, Kept, Offers
from kybern.scheduler.devices.podclaims import Missing, names, reserved
from kybern.scheduler.devices.preparing import prepare
from kybern.scheduler.devices.wishes import Unfulfillable
from kybern.scheduler.devices.writing import remove
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import (
    SKIP,
    Attempt,
    Cluster,
    NodeInfo,
    Plugin,
    Relief,
    Scope,
    no_filter,
)
from kybern.scheduler.handle import Handle
from kybern.scheduler.outcomes import Refused

IN_USE = "resourceclaim in use"
FREED = "deallocation of ResourceClaim completed"
REMOVED = "deletion of ResourceClaim completed"


def pre_enqueue(pod: Pod) -> str | None:
    try:
        list(names(pod))
    except Missing as problem:
        return str(problem)
    return None


def pre_filter(attempt: Attempt) -> Scope | None:
    pod = attempt.facts.pod
    try:
        found = observe(pod, attempt.facts.asked, attempt.table.objects)
    except (Missing, Unfulfillable) as problem:
        return Scope(reason=str(problem))
    if found is None:
        return SKIP
    if any(not reserved(one, pod) and len(one.status.reserved_for) >= MOST_USERS for one in found.claims):
        return Scope(reason=IN_USE)
    attempt.state[NAME] = found

    def left_over(_facts: PodFacts, table: Any) -> Any:
        return refusals(found, table.valid if attempt.left is None else attempt.left, table)

    return Scope(filter=left_over)


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    """The same of one node."""
    try:
        found = observe(pod, requests.of_pod(pod), cluster.objects)
    except (Missing, Unfulfillable) as problem:
        return (str(problem),)
    if found is None:
        return ()
    if found.special is not None and found.special.stale:
        return (STALE,)
    if not all(usable(one, info.node) and not hopeless(one, cluster.objects) for one in found.claims):
        return (ELSEWHERE,)
    reason = look(found, info.node, Offers.of(cluster.objects)) if found.searches else ""
    return (reason,) if reason else ()


def reserve(attempt: Attempt, node: str) -> str:
    found: Found | None = attempt.state.get(NAME)
    if found is None or not found.searches:
        return ""
    if node not in found.chosen:
        return NOT_ALL
    found.held = found.chosen[node].allocated(lambda: str(uuid.uuid4()))
    for claim in found.held:
        attempt.table.objects.hold(claim)
    return ""


def unreserve(attempt: Attempt, _node: str) -> None:
    """What is written already is taken until the API server says otherwise."""
    found: Found | None = attempt.state.get(NAME)
    for claim in found.held if found is not None else ():
        if attempt.table.objects.is_held(claim):
            attempt.table.restore_object(ResourceClaim, claim.metadata.name, claim.metadata.namespace)


def prepares(attempt: Attempt, node: str) -> bool:
    """Claims are written, and devices may have to be made ready."""
    found: Found | None = attempt.state.get(NAME)
    return found is not None and bool(found.claims or (node in found.chosen and found.chosen[node].mapped))


async def pre_bind(seconds: float, attempt: Attempt, node: str, handle: Handle) -> str:
    return await prepare(attempt.state[NAME], attempt, node, handle, seconds)


async def post_filter(attempt: Attempt, refused: Refused, handle: Handle) -> Relief:
    """Give back the devices of a claim that nobody but this pod may be using, when they are what stands in its way."""
    found: Found | None = attempt.state.get(NAME)
    if found is None or NAME not in refused.plugins:
        return Relief()
    pod, objects = attempt.facts.pod, attempt.table.objects
    if found.special is not None and found.special.stale:
        await remove(found.special.claim, handle.client)
        return Relief(REMOVED)
    for claim in found.claims:
        users, allocation = claim.status.reserved_for, claim.status.allocation
        mine = not users or (len(users) == 1 and reserved(claim, pod))
        stuck = allocation is not None and (allocation.node_selector is not None or hopeless(claim, objects))
        if stuck and mine:
            status = replace(claim.status, allocation=None, devices=(), reserved_for=())
            await handle.client.patch(claim, replace(claim, status=status), "status")
            Kept.of(objects).given_up.pop(claim.metadata.uid, None)
            return Relief(FREED)
    return Relief()


def of_pod(facts: PodFacts, what: Happening) -> bool:
    """Whether a claim is one of the pod's, or gave up devices that the pod might take."""
    claim: ResourceClaim = what.object
    freed = what.old is not None and what.old.status.allocation is not None
    if freed and (what.new is None or what.new.status.allocation is None):
        return True
    own = {one.resource_claim_name for one in facts.pod.spec.resource_claims}
    own |= {one.resource_claim_name for one in facts.pod.status.resource_claim_statuses}
    mine = claim.metadata.name in own or owned(claim, facts.pod)
    return claim.metadata.namespace == facts.pod.metadata.namespace and mine


def gave_back(_facts: PodFacts, what: Happening) -> bool:
    """A pod that did not get to its node in the end: what it was about to take is free."""
    pod: Pod = what.old
    return bool(pod.spec.resource_claims) or any("/" in name for name in requests.of_pod(pod))


def configure(args: Mapping[str, Any], path: str) -> Plugin:
    given = Arguments(args, path, "DynamicResourcesArgs")
    given.accept("filterTimeout")  # a search ends after so many steps
    seconds = float(SECONDS)
    if told := given.text("bindingTimeout"):
        try:
            seconds = duration(told)
        except ValueError as problem:
            given.wrong(invalid(given.at("bindingTimeout"), told, str(problem)))
        if seconds < 1:
            given.wrong(invalid(given.at("bindingTimeout"), told, "must be at least 1 second"))
    given.check()
    return made(seconds)


def made(seconds: float = SECONDS) -> Plugin:
    return Plugin(
        NAME,
        pre_enqueue=pre_enqueue,
        pre_filter=pre_filter,
        filter=no_filter,
        refuse=refuse,
        post_filter=post_filter,
        reserve=reserve,
        unreserve=unreserve,
        prepares=prepares,
        pre_bind=partial(pre_bind, seconds),
        needs=(ResourceClaim, ResourceSlice, DeviceClass),
        wakes=(
            Wake(ResourceClaim, Action.ADDED | Action.CHANGED | Action.GONE, of_pod),
            Wake(ResourceSlice, Action.ADDED | Action.CHANGED),
            Wake(DeviceClass, Action.ADDED | Action.CHANGED),
            Wake(Node, Action.ADDED | Action.CHANGED),
            Wake(Pod, Action.GONE, gave_back),
            renewals.when(renewals.got_claims),
        ),
        configure=configure,
    )


PLUGIN = made()
