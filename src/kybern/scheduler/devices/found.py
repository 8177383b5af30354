"""What one attempt knows of a pod's claims, and which nodes have devices for them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from kybern.api.core_v1 import Node, Pod
from kybern.api.node_selection import matches
from kybern.api.resource_v1 import DeviceClass, ResourceClaim
from kybern.machinery.struct import replace
from kybern.scheduler.devices.allocate import Choice
from kybern.scheduler.devices.conditions import BindingFailed, ready
from kybern.scheduler.devices.extended import Mapped, Special, special
from kybern.scheduler.devices.offers import Kept, Offers
from kybern.scheduler.devices.podclaims import Missing, claims
from kybern.scheduler.devices.results import Named, results
from kybern.scheduler.devices.wishes import wishes
from kybern.scheduler.framework import Refusal
from kybern.scheduler.objects import Objects
from kybern.scheduler.requests import Amounts, amount
from kybern.scheduler.table import Mask, Table

ELSEWHERE = "resourceclaim not available on the node"
STALE = "cannot schedule extended resource claim"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Devices of a node for claims; the last claim is the special one when ``mapped`` says who uses it."""

    node: Node
    claims: tuple[ResourceClaim, ...]
    devices: Sequence[Choice]
    mapped: Mapped = ()

    def allocated(self, share: Named) -> tuple[ResourceClaim, ...]:
        """The claims as they are going to be."""
        given = results(self.claims, self.devices, self.node, share)
        return tuple(
            replace(claim, status=replace(claim.status, allocation=one))
            for claim, one in zip(self.claims, given, strict=True)
        )


@dataclass(slots=True)
class Found:
    """The pod's claims, those of them without devices, the one that it may need for extended resources, and what was chosen.

    ``held`` are the claims of the chosen node as they are going to be.
    """

    pod: Pod
    claims: tuple[ResourceClaim, ...]
    open: tuple[ResourceClaim, ...]
    special: Special | None = None
    chosen: dict[str, Chosen] = field(default_factory=dict)
    held: tuple[ResourceClaim, ...] = ()

    @property
    def searches(self) -> bool:
        return bool(self.open) or self.special is not None


def observe(pod: Pod, asked: Amounts, objects: Objects) -> Found | None:
    """None for a pod without claims. Raises Missing, Unfulfillable."""
    extra = special(pod, asked, objects)
    if not pod.spec.resource_claims and extra is None:
        return None
    known = claims(pod, objects)
    for claim in known:
        if objects.is_held(claim):
            at = f"{claim.metadata.namespace}/{claim.metadata.name}"
            raise Missing(f"resource claim {at} is in the process of being allocated")
    open_claims = tuple(one for one in known if one.status.allocation is None)
    for claim in open_claims:
        wishes(claim, lambda name: objects.get(DeviceClass, name))
    return Found(pod, known, open_claims, extra)


def refusals(found: Found, left: Mask, table: Table) -> Iterator[Refusal]:
    """Only of the nodes that are left: a search of devices takes its time."""
    if found.special is not None and found.special.stale:
        yield Refusal(left, STALE)
        return
    left = left.copy()
    for claim in found.claims:
        allowed = _usable(claim, table)
        if allowed is not None:
            yield Refusal(left & ~allowed, ELSEWHERE)
            left &= allowed
    if not found.searches:
        return
    offers = Offers.of(table.objects)
    against: dict[str, Mask] = {}
    for column in np.flatnonzero(left):
        node = table.node(table.names[column])
        reason = look(found, node, offers) if node is not None else ""
        if reason:
            against.setdefault(reason, np.zeros(table.columns, np.bool_))[column] = True
    for reason, nodes in against.items():
        yield Refusal(nodes, reason)


def look(found: Found, node: Node, offers: Offers) -> str:
    """Choose devices of a node; why there are none, or ""."""
    wanted: tuple[ResourceClaim, ...] = found.open
    mapped: Mapped = ()
    if found.special is not None:
        names = [name for name in found.special.resources if not offered(node, name)]
        if names:
            extra, mapped = found.special.variant(found.pod, names)
            wanted = (*wanted, extra)
    devices, reason = offers.search(wanted, node) if wanted else ((), "")
    if devices is None:
        return reason
    found.chosen[node.metadata.name] = Chosen(node, wanted, devices, mapped)
    return ""


def offered(node: Node, resource: str) -> bool:
    """Whether a node has an extended resource itself."""
    return amount(resource, node.status.allocatable.get(resource, "0")) > 0


def _usable(claim: ResourceClaim, table: Table) -> Mask | None:
    """The nodes that can use an allocated claim's devices; None when that says nothing."""
    if claim.status.allocation is None:
        return None
    if hopeless(claim, table.objects):
        return np.zeros(table.columns, np.bool_)
    if claim.status.allocation.node_selector is None:
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


def hopeless(claim: ResourceClaim, objects: Objects) -> bool:
    """Whether the devices of an allocated claim will not get ready any more."""
    try:
        late = Kept.of(objects).given_up.get(claim.metadata.uid) == claim.status.allocation
        return claim.status.allocation is not None and not ready(claim) and late
    except BindingFailed:
        return True
