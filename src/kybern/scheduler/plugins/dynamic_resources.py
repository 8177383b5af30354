"""A pod goes where its device claims are allocated, or where devices can be found for them (KEP-4381).

Claims that are allocated keep a pod to the nodes that can use their devices. For the others devices are looked for, node by
node (``scheduler.devices``); those of the chosen node are written into the claims before the pod is bound. A claim that
this pod alone needs and that leaves it no node is deallocated: the next attempt may choose other devices.

Texts are upstream's (plugins/dynamicresources).
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.api.node_selection import matches
from kybern.api.resource_v1 import AllocationResult, DeviceClass, ResourceClaim, ResourceSlice
from kybern.loop.device_claims import MOST_USERS
from kybern.machinery.struct import replace
from kybern.scheduler.changes import Action, Happening, Wake
from kybern.scheduler.devices.allocate import Choice
from kybern.scheduler.devices.offers import NAME, NOT_ALL, Kept, Offers
from kybern.scheduler.devices.podclaims import Missing, claims, names, reserved
from kybern.scheduler.devices.results import results
from kybern.scheduler.devices.wishes import Unfulfillable, wishes
from kybern.scheduler.devices.writing import write
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import (
    SKIP,
    Attempt,
    Cluster,
    NodeInfo,
    Plugin,
    Refusal,
    Relief,
    Scope,
    no_filter,
)
from kybern.scheduler.handle import Handle
from kybern.scheduler.outcomes import Refused
from kybern.scheduler.table import Mask, Table

ELSEWHERE = "resourceclaim not available on the node"
IN_USE = "resourceclaim in use"
FREED = "deallocation of ResourceClaim completed"


@dataclass(slots=True)
class Found:
    """What an attempt knows: the pod's claims, those without devices, and which devices each node has for them."""

    claims: tuple[ResourceClaim, ...]
    open: tuple[ResourceClaim, ...]
    choices: dict[str, tuple[Node, Sequence[Choice]]] = field(default_factory=dict)
    given: Mapping[str, AllocationResult] = field(default_factory=dict)


def pre_enqueue(pod: Pod) -> str | None:
    try:
        list(names(pod))
    except Missing as problem:
        return str(problem)
    return None


def pre_filter(attempt: Attempt) -> Scope | None:
    pod, objects = attempt.facts.pod, attempt.table.objects
    if not pod.spec.resource_claims:
        return SKIP
    try:
        known = claims(pod, objects)
        open_claims = tuple(one for one in known if one.status.allocation is None)
        for claim in open_claims:
            wishes(claim, lambda name: objects.get(DeviceClass, name))
    except (Missing, Unfulfillable) as problem:
        return Scope(reason=str(problem))
    if any(not reserved(one, pod) and len(one.status.reserved_for) >= MOST_USERS for one in known):
        return Scope(reason=IN_USE)
    found = attempt.state[NAME] = Found(known, open_claims)
    return Scope(filter=lambda _facts, table: _refusals(found, table))


def _refusals(found: Found, table: Table) -> Iterator[Refusal]:
    left = table.valid.copy()
    for claim in found.claims:
        allowed = _usable(claim, table)
        if allowed is not None:
            yield Refusal(left & ~allowed, ELSEWHERE)
            left &= allowed
    if found.open:
        for reason, nodes in _without(found, table, left).items():
            yield Refusal(nodes, reason)


def _usable(claim: ResourceClaim, table: Table) -> Mask | None:
    """The nodes that can use an allocated claim's devices; None when that says nothing."""
    if claim.status.allocation is None or claim.status.allocation.node_selector is None:
        return None
    allowed = np.zeros(table.columns, np.bool_)
    for name, column in table.index.items():
        node = table.node(name)
        allowed[column] = node is not None and usable(claim, node)
    return allowed


def usable(claim: ResourceClaim, node: Node) -> bool:
    allocation = claim.status.allocation
    selector = allocation.node_selector if allocation is not None else None
    return selector is None or any(matches(term, node) for term in selector.node_selector_terms)


def _without(found: Found, table: Table, left: Mask) -> Mapping[str, Mask]:
    """The nodes that have no devices for the open claims, by what is said of them."""
    offers = Offers.of(table.objects)
    against: dict[str, Mask] = {}
    for column in np.flatnonzero(left):
        node = table.node(table.names[column])
        if node is None:
            continue
        choices, reason = offers.search(found.open, node)
        if choices is None:
            against.setdefault(reason, np.zeros(table.columns, np.bool_))[column] = True
        else:
            found.choices[node.metadata.name] = node, choices
    return against


def refuse(pod: Pod, info: NodeInfo, cluster: Cluster) -> tuple[str, ...]:
    """The same of one node."""
    if not pod.spec.resource_claims:
        return ()
    try:
        known = claims(pod, cluster.objects)
    except Missing as problem:
        return (str(problem),)
    if not all(usable(one, info.node) for one in known):
        return (ELSEWHERE,)
    open_claims = [one for one in known if one.status.allocation is None]
    if not open_claims:
        return ()
    choices, reason = Offers.of(cluster.objects).search(open_claims, info.node)
    return (reason,) if choices is None else ()


def reserve(attempt: Attempt, node: str) -> str:
    found: Found | None = attempt.state.get(NAME)
    if found is None or not found.open:
        return ""
    if node not in found.choices:
        return NOT_ALL
    here, choices = found.choices[node]
    allocations = results(found.open, choices, here, lambda: str(uuid.uuid4()))
    found.given = {claim.metadata.uid: one for claim, one in zip(found.open, allocations, strict=True)}
    Kept.of(attempt.table.objects).ledger.take(found.given)
    return ""


def unreserve(attempt: Attempt, _node: str) -> None:
    found: Found | None = attempt.state.get(NAME)
    if found is not None:
        Kept.of(attempt.table.objects).ledger.give_back(found.given)


async def pre_bind(attempt: Attempt, _node: str, handle: Handle) -> str:
    found: Found | None = attempt.state.get(NAME)
    if found is None:
        return ""
    ledger = Kept.of(attempt.table.objects).ledger
    for claim in found.claims:
        given = found.given.get(claim.metadata.uid)
        ledger.written(await write(claim, given, attempt.facts.pod, handle.client))
    return ""


async def post_filter(attempt: Attempt, refused: Refused, handle: Handle) -> Relief:
    """Give back the devices of a claim that nobody but this pod may be using, when they are what stands in its way."""
    found: Found | None = attempt.state.get(NAME)
    if found is None or NAME not in refused.plugins:
        return Relief()
    pod = attempt.facts.pod
    for claim in found.claims:
        users = claim.status.reserved_for
        mine = not users or (len(users) == 1 and reserved(claim, pod))
        if claim.status.allocation is not None and claim.status.allocation.node_selector is not None and mine:
            status = replace(claim.status, allocation=None, devices=(), reserved_for=())
            await handle.client.patch(claim, replace(claim, status=status), "status")
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
    return claim.metadata.namespace == facts.pod.metadata.namespace and claim.metadata.name in own


PLUGIN = Plugin(
    NAME,
    pre_enqueue=pre_enqueue,
    pre_filter=pre_filter,
    filter=no_filter,
    refuse=refuse,
    post_filter=post_filter,
    reserve=reserve,
    unreserve=unreserve,
    pre_bind=pre_bind,
    needs=(ResourceClaim, ResourceSlice, DeviceClass),
    wakes=(
        Wake(ResourceClaim, Action.ADDED | Action.CHANGED | Action.GONE, of_pod),
        Wake(ResourceSlice, Action.ADDED | Action.CHANGED),
        Wake(DeviceClass, Action.ADDED | Action.CHANGED),
        Wake(Node, Action.ADDED | Action.CHANGED),
    ),
)
