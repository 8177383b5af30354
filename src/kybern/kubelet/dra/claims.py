"""Which claims a pod uses, whether it may, and which devices of them a container sees. Pure; the words are upstream's."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kybern.api.core_v1 import Container, Pod
from kybern.api.core_v1 import ResourceClaim as ContainerClaim
from kybern.api.resource_v1 import ResourceClaim
from kybern.machinery import quantity

EXTENDED = "<extended-resources>"
"""The alias of the claim that the scheduler made for a pod's extended resources (KEP-5004): no name that a pod can give."""


class CannotPrepare(Exception):
    """Devices of a pod cannot be made usable, or taken back; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Use:
    """A claim as a pod knows it (``alias``), by its name in the API; ``own``: it was made for this pod."""

    alias: str
    claim: str
    own: bool


@dataclass(frozen=True, slots=True)
class Device:
    """What a driver prepared: for which requests of the claim (none: for all), and its CDI names."""

    requests: tuple[str, ...]
    pool: str
    device: str
    names: tuple[str, ...]
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claim on this node. ``done``: its drivers said so; else they may have, and must be told of its end all the same."""

    uid: str
    namespace: str
    name: str
    drivers: tuple[str, ...]
    pods: tuple[str, ...]
    devices: tuple[Device, ...] = ()
    done: bool = False


def has_any(pod: Pod) -> bool:
    """Whether there may be claims to prepare for a pod."""
    return bool(pod.spec.resource_claims) or pod.status.extended_resource_claim_status is not None


def uses(pod: Pod) -> Iterator[Use]:
    """The claims that containers of a pod use. Raises CannotPrepare for one that is not made yet."""
    yield from _named(pod)
    special = pod.status.extended_resource_claim_status
    if special is not None:
        yield Use(EXTENDED, special.resource_claim_name, own=False)


def _named(pod: Pod) -> Iterator[Use]:
    spec = pod.spec
    used = {one.name for c in (*spec.init_containers, *spec.containers) for one in of_container(c)}
    made = {one.name: one.resource_claim_name for one in pod.status.resource_claim_statuses}
    for each in spec.resource_claims:
        if each.name not in used:
            continue
        if each.resource_claim_name:
            yield Use(each.name, each.resource_claim_name, own=False)
        elif each.name not in made:
            shown = f"{pod.metadata.namespace}/{pod.metadata.name}"
            raise CannotPrepare(f'prepare resource claim: pod "{shown}": ResourceClaim not created yet')
        elif made[each.name]:
            yield Use(each.name, made[each.name], own=True)


def check(pod: Pod, use: Use, claim: ResourceClaim) -> None:
    """Raises CannotPrepare for a claim that this pod may not use now."""
    meta = pod.metadata
    if use.own and all(one.uid != meta.uid for one in claim.metadata.owner_references):
        raise CannotPrepare(
            f"ResourceClaim {claim.metadata.namespace}/{claim.metadata.name} was not created for pod "
            f"{meta.namespace}/{meta.name} (pod is not owner)"
        )
    if all(one.uid != meta.uid for one in claim.status.reserved_for):
        raise CannotPrepare(
            f"pod {meta.name} ({meta.uid}) is not allowed to use ResourceClaim {use.claim} ({claim.metadata.uid})"
        )
    if claim.status.allocation is None:
        raise CannotPrepare(f"ResourceClaim {use.claim} is not allocated")


def drivers(claim: ResourceClaim) -> tuple[str, ...]:
    """Those that have devices in a claim."""
    found = claim.status.allocation.devices if claim.status.allocation is not None else None
    return tuple(dict.fromkeys(one.driver for one in found.results)) if found is not None else ()


def names(pod: Pod, container: Container, by_alias: Mapping[str, Prepared]) -> tuple[str, ...]:
    """The CDI names that a container gets: of whole claims, or of single requests. Raises CannotPrepare."""
    asked = (*of_container(container), *_extended(pod, container))
    return tuple(dict.fromkeys(name for each in asked for name in _names(each, by_alias.get(each.name))))


def _extended(pod: Pod, container: Container) -> Iterator[ContainerClaim]:
    """The requests which the scheduler made for the extended resources that a container asks for."""
    special = pod.status.extended_resource_claim_status
    asked = container.resources.requests if container.resources is not None else {}
    for each in special.request_mappings if special is not None else ():
        amount = asked.get(each.resource_name) if each.container_name == container.name else None
        if amount is not None and quantity.parse(amount).milli():
            yield ContainerClaim(name=EXTENDED, request=each.request_name)


def _names(asked: ContainerClaim, found: Prepared | None) -> Iterator[str]:
    if found is None:
        return
    if not found.done:
        raise CannotPrepare(f"unable to get resource for namespace: {found.namespace}, claim: {found.name}")
    for device in wanted(asked, found):
        yield from device.names


def wanted(asked: ContainerClaim, found: Prepared) -> Iterator[Device]:
    """The devices of a claim that a container sees: all of them, or those of the request that it names."""
    for device in found.devices:
        if not asked.request or not device.requests or asked.request in _base(device.requests):
            yield device


def seen(pod: Pod, container: Container, by_alias: Mapping[str, Prepared]) -> tuple[Prepared, ...]:
    """The claims that a container uses and that are prepared, each once."""
    found = (by_alias.get(each.name) for each in (*of_container(container), *_extended(pod, container)))
    return tuple(dict.fromkeys(one for one in found if one is not None and one.done))


def _base(requests: Iterable[str]) -> frozenset[str]:
    """Without the alternative of a request that was taken: gpu/small is of the request gpu."""
    return frozenset(request.partition("/")[0] for request in requests)


def of_container(container: Container) -> Iterable[ContainerClaim]:
    """The claims, or requests of claims, that a container names."""
    return container.resources.claims if container.resources is not None else ()
