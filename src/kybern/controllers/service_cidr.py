"""Keep a range of cluster IPs for as long as addresses are in it that no other range has.

Reads ServiceCIDR, IPAddress. Writes ServiceCIDR (the finalizer networking.k8s.io/service-cidr-finalizer), its condition
Ready. A range that may go waits ten more seconds, until every API server knows that it takes no new addresses from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from kybern.api.meta_v1 import Condition
from kybern.api.networking_v1 import IPAddress, ServiceCIDR
from kybern.loop.conditions import find, settled
from kybern.loop.controller import Action, Again, Controller, Key, PatchStatus, View
from kybern.loop.finalizers import is_held, protect
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
GRACE = timedelta(seconds=10)
_HELD = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)

type Network = IPv4Network | IPv6Network
type Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class State:
    cidr: ServiceCIDR
    # Ranges of the other ServiceCIDRs.
    others: tuple[Network, ...]
    # Of Services; only looked at when the range is to go.
    addresses: tuple[Address, ...]
    now: datetime


def networks(cidr: ServiceCIDR) -> tuple[Network, ...]:
    return tuple(ip_network(one, strict=False) for one in cidr.spec.cidrs)


def observe(view: View, key: Key) -> State | None:
    cidr = view.get(ServiceCIDR, "", key.name)
    if cidr is None:
        return None
    others = (one for one in view.list(ServiceCIDR) if one.metadata.name != key.name)
    addresses: tuple[Address, ...] = ()
    if is_held(cidr, FINALIZER):
        given = (one for one in view.list(IPAddress) if one.metadata.labels.get(MANAGED_BY) == MANAGER)
        addresses = tuple(ip_address(one.metadata.name) for one in given)
    return State(cidr, tuple(network for one in others for network in networks(one)), addresses, view.now)


def is_used(state: State) -> bool:
    """Whether an address would be in no range any more."""
    mine = networks(state.cidr)
    if all(any(_within(network, other) for other in state.others) for network in mine):
        return False
    return any(
        any(address in network for network in mine) and not any(address in other for other in state.others)
        for address in state.addresses
    )


def _within(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)


def diff(state: State) -> Iterable[Action]:
    cidr = state.cidr
    since = cidr.metadata.deletion_timestamp
    if since is None:
        yield from protect(cidr, FINALIZER, used=True)
        yield from _ready(state, "True", "", "Kubernetes Service CIDR is ready")
    elif not is_held(cidr, FINALIZER):
        return
    elif is_used(state):
        yield from _ready(state, "False", "Terminating", _HELD)
    elif (left := (since + GRACE - state.now).total_seconds()) > 0:
        yield Again(left)
    else:
        yield from protect(cidr, FINALIZER, used=False)


def _ready(state: State, value: str, reason: str, message: str) -> Iterable[Action]:
    cidr = state.cidr
    if cidr.metadata.deletion_timestamp is None and FINALIZER not in cidr.metadata.finalizers:
        # The finalizer has just been set, and made another version of the object; it comes back with that.
        return
    old = find(cidr.status.conditions, "Ready")
    if old is not None and (old.status, old.reason, old.message) == (value, reason, message):
        return
    wanted = Condition(type="Ready", status=value, reason=reason, message=message)
    conditions = settled(cidr.status.conditions, wanted, state.now)
    yield PatchStatus(cidr, replace(cidr, status=replace(cidr.status, conditions=conditions)))


def going(_item: IPAddress | ServiceCIDR, view: View) -> Iterable[Key]:
    """Any change of an address or another range may let those go that wait for it."""
    for cidr in view.list(ServiceCIDR):
        if cidr.metadata.deletion_timestamp is not None:
            yield Key("", cidr.metadata.name)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "service-cidr-controller",
        ServiceCIDR,
        observe,
        diff,
        watches=((IPAddress, going), (ServiceCIDR, going)),
        component="service-cidrs-controller",
        source="service-cidr-controller",
        workers=1,
    )
