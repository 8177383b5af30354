"""Give every service of type LoadBalancer its addresses.

Reads Service. Writes Service.status.

An address is never given twice: one process leads, one worker decides, and where the cache may lag behind this process's
own writes, or those of a leader before, the API server itself is asked who holds which (``holders``).
What holds an address is a service's status and nothing else, so there is nothing to free, to keep or to lose: a service
that is deleted, or is of another type, holds none. Should two have one after all (somebody wrote it), the older keeps it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kybern.api.core_v1 import LoadBalancerIngress, LoadBalancerStatus, Service
from kybern.balancers.allot import Refused, allot
from kybern.balancers.holders import HOLDING, Holders, key_of
from kybern.balancers.wishes import BadWish, Wish, held, is_ours, wish
from kybern.loop.controller import Action, Controller, Emit, Key, PatchStatus, View, WhenChanged
from kybern.machinery.pools import Address, Pool
from kybern.machinery.struct import replace

NAME = "kybern-load-balancers"
WAITING = "balancers-waiting"
VIRTUAL = "VIP"  # upstream's ipMode: packets reach a node with this address on them


@dataclass(frozen=True, slots=True)
class State:
    """``others`` are all other services that hold an address, or none when they do not matter."""

    service: Service
    others: tuple[Service, ...] = ()


def _is_waiting(service: Service) -> bool:
    return is_ours(service) and not held(service)


def _waiting(service: Service) -> Iterable[str]:
    return ("yes",) if _is_waiting(service) else ()


def _holding(service: Service) -> Iterable[str]:
    return ("yes",) if held(service) else ()


def _what_frees(service: Service) -> Any:
    """An address may come free when this changes."""
    return (
        service.spec.type,
        service.spec.ports,
        service.spec.external_traffic_policy,
        service.spec.selector,
        service.metadata.deletion_timestamp,
        service.metadata.annotations,
        held(service),
    )


def _who_waits(_changed: Service, view: View) -> Iterable[Key]:
    for one in view.index(Service, WAITING, "yes"):
        yield Key(one.metadata.namespace, one.metadata.name)


def observe(pools: Sequence[Pool], known: Holders, view: View, key: Key) -> State | None:
    """``known`` keeps what the API server was asked from one round to the next."""
    service = view.get(Service, key.namespace, key.name)
    if service is None or not (is_ours(service) or held(service)):
        return None
    if not is_ours(service):
        return State(service)
    # By far the most rounds end with what there is: they need not ask.
    seen = State(service, _without(view.index(Service, HOLDING, "yes"), key))
    if held(service) and not any(diff(pools, seen)):
        return seen
    state = State(service, known.others(view, key))
    writes = _writes(pools, state)
    if known.are_doubtful and not writes:
        # Before it is said that none is left.
        state = State(service, known.others(view, key, afresh=True))
        writes = _writes(pools, state)
    if writes:
        known.wrote(service)
    return state


def _writes(pools: Sequence[Pool], state: State) -> bool:
    return any(isinstance(one, PatchStatus) for one in diff(pools, state))


def _without(services: Iterable[Service], key: Key) -> tuple[Service, ...]:
    return tuple(one for one in services if key_of(one) != key)


def _age(service: Service) -> tuple[str, str]:
    created = service.metadata.creation_timestamp
    return (created.isoformat() if created else "", service.metadata.uid)


def holders(of: Service, others: Iterable[Service]) -> dict[Address, list[Wish]]:
    """Who has which address, as far as ``of`` has to mind: of two that have one already, the older."""
    found: defaultdict[Address, list[Wish]] = defaultdict(list)
    mine = set(held(of))
    for other in others:
        if not is_ours(other):
            continue
        try:
            wanted = wish(other)
        except BadWish:
            wanted = Wish((other.metadata.namespace, other.metadata.name), ())  # shares with nobody
        for address in held(other):
            if address not in mine or _age(other) < _age(of):
                found[address].append(wanted)
    return found


def diff(pools: Sequence[Pool], state: State) -> Iterator[Action]:
    service = state.service
    has = held(service)
    if not is_ours(service):
        if service.spec.type != "LoadBalancer" and all(any(one in pool for pool in pools) for one in has):
            yield _status(service, ())
        return
    try:
        found = allot(pools, wish(service), has, holders(service, state.others))
    except BadWish as problem:
        found = Refused("AddressUnavailable", str(problem))
    if isinstance(found, Refused):
        if has:
            yield _status(service, ())
        yield Emit(service, "Warning", found.reason, found.message)
        return
    change = _status(service, found)
    if change.old != change.new:
        yield change
        if found != has:
            told = ", ".join(str(one) for one in found)
            yield Emit(service, "Normal", "AddressAllocated", f"Allocated {told}")


def _status(service: Service, addresses: Sequence[Address]) -> PatchStatus:
    ingress = tuple(LoadBalancerIngress(ip=str(one), ip_mode=VIRTUAL) for one in addresses)
    status = replace(service.status, load_balancer=LoadBalancerStatus(ingress=ingress))
    return PatchStatus(service, replace(service, status=status))


def controller(pools: Sequence[Pool]) -> Controller[State]:
    """One for each time that a process leads."""
    return Controller(
        NAME,
        Service,
        partial(observe, pools, Holders()),
        partial(diff, pools),
        watches=((Service, WhenChanged(_what_frees, _who_waits)),),
        indexes=((Service, WAITING, _waiting), (Service, HOLDING, _holding)),
        workers=1,
    )
