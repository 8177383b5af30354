"""Devices for extended resources: a pod asks for example.com/gpu, and a class says which devices these are (KEP-5004). Pure.

A node that offers the resource itself (a device plugin's) gives it as ever. On others the scheduler makes one special claim
for all such resources of the pod: one request for each container and resource, except that what runs before the others uses
their devices first. Rules and names: upstream's plugins/dynamicresources/extendeddynamicresources.go.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kybern.api.core_v1 import Container, ContainerExtendedResourceRequest, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import (
    DeviceClaim,
    DeviceClass,
    DeviceRequest,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
)
from kybern.loop.owners import controller_reference
from kybern.machinery.struct import replace
from kybern.scheduler.changes import Happening
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.objects import Objects
from kybern.scheduler.requests import Amounts, amount

ANNOTATION = "resource.kubernetes.io/extended-resource-claim"
PREFIX = "deviceclass.resource.kubernetes.io/"
UNNAMED = "<extended-resources>"  # no name that a claim in the API may have

type Mapped = tuple[ContainerExtendedResourceRequest, ...]


@dataclass(slots=True)
class Special:
    """The claim that a pod may need; ``resources`` are those that classes stand for. Its content depends on the node.

    ``stale``: it is left from an attempt that failed, and has to go first.
    """

    claim: ResourceClaim
    resources: Mapping[str, DeviceClass]
    stale: bool = False
    _variants: dict[frozenset[str], tuple[ResourceClaim, Mapped]] = field(default_factory=dict)

    def variant(self, pod: Pod, names: Iterable[str]) -> tuple[ResourceClaim, Mapped]:
        """What is to be claimed where a node has not these resources itself, and which request is for which container."""
        key = frozenset(names)
        found = self._variants.get(key)
        if found is None:
            requests, mapped = asked(pod, {name: self.resources[name].metadata.name for name in sorted(key)})
            spec = ResourceClaimSpec(devices=DeviceClaim(requests=requests))
            found = self._variants[key] = replace(self.claim, spec=spec), mapped
        return found


def classes(wanted: Amounts, objects: Objects) -> dict[str, DeviceClass]:
    """Those of the resources that a class stands for. Of several classes the newest counts, then the first by name."""
    names = [name for name, number in wanted.items() if number and "/" in name]
    if not names:
        return {}
    found: dict[str, DeviceClass] = {}
    for one in sorted(objects.all(DeviceClass), key=_age):
        for name in {one.spec.extended_resource_name, PREFIX + one.metadata.name}.intersection(names):
            found.setdefault(name, one)
    return found


def stands_for(facts: PodFacts, what: Happening) -> bool:
    """Whether a class, as it is now, stands for something that a pod asks for."""
    one: DeviceClass = what.new
    names = {one.spec.extended_resource_name, PREFIX + one.metadata.name}
    return any(number and name in names for name, number in facts.asked.items())


def _age(one: DeviceClass) -> tuple[float, str]:
    made = one.metadata.creation_timestamp
    return -made.timestamp() if made is not None else 0.0, one.metadata.name


def special(pod: Pod, wanted: Amounts, objects: Objects) -> Special | None:
    """None when the pod needs none on any node."""
    resources = classes(wanted, objects)
    if not resources:
        return None
    left = of_pod(pod, objects)
    if left is not None:
        return Special(left, resources, stale=True)
    meta = ObjectMeta(
        namespace=pod.metadata.namespace,
        name=f"{UNNAMED}{pod.metadata.uid}",
        uid=f"{UNNAMED}{pod.metadata.uid}",
        generate_name=f"{pod.metadata.name}-extended-resources-",
        owner_references=(replace(controller_reference(pod), block_owner_deletion=None),),
        annotations={ANNOTATION: "true"},
    )
    return Special(ResourceClaim(metadata=meta), resources)


def of_pod(pod: Pod, objects: Objects) -> ResourceClaim | None:
    """The special claim that was made for a pod."""
    return next(
        (one for one in objects.within(ResourceClaim, pod.metadata.namespace) if owned(one, pod)), None
    )


def owned(claim: ResourceClaim, pod: Pod) -> bool:
    return claim.metadata.annotations.get(ANNOTATION) == "true" and any(
        one.controller and one.uid == pod.metadata.uid for one in claim.metadata.owner_references
    )


def to_create(claim: ResourceClaim) -> ResourceClaim:
    """As the API server wants a claim whose name it is to give."""
    return ResourceClaim(metadata=replace(claim.metadata, name="", uid=""), spec=claim.spec)


@dataclass(frozen=True, slots=True)
class _Ask:
    container: str
    resource: str
    request: str
    count: int

    @property
    def mapped(self) -> ContainerExtendedResourceRequest:
        return ContainerExtendedResourceRequest(
            container_name=self.container, resource_name=self.resource, request_name=self.request
        )


def asked(pod: Pod, resources: Mapping[str, str]) -> tuple[tuple[DeviceRequest, ...], Mapped]:
    """The requests of a claim for these resources (name: class), by name, and who uses which."""
    requests: list[DeviceRequest] = []
    mapped: list[ContainerExtendedResourceRequest] = []
    for resource, name in resources.items():
        stay = dict(_staying(pod, resource))
        pass_by = list(_passing(pod, resource, stay))
        extra = max((one for one, _ in pass_by if one is not None), key=lambda one: one.count, default=None)
        mapped += [one.mapped for one in stay.values()]
        for own, shared in pass_by:
            mapped += [replace(one.mapped, container_name=who) for who, one in shared]
            if own is not None and extra is not None:
                mapped.append(replace(own.mapped, request_name=extra.request))
        made = [*stay.values()] + ([extra] if extra is not None else [])
        requests += [_request(one, name) for one in made]
    return tuple(sorted(requests, key=lambda one: one.name)), tuple(mapped)


def _request(one: _Ask, device_class: str) -> DeviceRequest:
    exactly = ExactDeviceRequest(
        device_class_name=device_class, allocation_mode="ExactCount", count=one.count
    )
    return DeviceRequest(name=one.request, exactly=exactly)


def _every(pod: Pod) -> Iterator[tuple[int, Container, bool]]:
    """All containers with their numbers, init containers first, and whether each ends before the others begin."""
    for number, one in enumerate((*pod.spec.init_containers, *pod.spec.containers)):
        ends = number < len(pod.spec.init_containers) and one.restart_policy != "Always"
        yield number, one, ends


def _ask(number: int, one: Container, resource: str) -> _Ask | None:
    requested = one.resources.requests if one.resources is not None else {}
    count = amount(resource, requested[resource]) if resource in requested else 0
    if not count:
        return None
    at = sorted(requested).index(resource)
    return _Ask(one.name, resource, f"container-{number}-request-{at}", count)


def _staying(pod: Pod, resource: str) -> Iterator[tuple[int, _Ask]]:
    for number, one, ends in _every(pod):
        if not ends and (found := _ask(number, one, resource)) is not None:
            yield number, found


def _passing(
    pod: Pod, resource: str, stay: Mapping[int, _Ask]
) -> Iterator[tuple[_Ask | None, list[tuple[str, _Ask]]]]:
    """What each container that ends needs beside the devices of those that start after it, and which of these it uses."""
    for number, one, ends in _every(pod):
        wanted = _ask(number, one, resource) if ends else None
        if wanted is None:
            continue
        left, shared = wanted.count, []
        for later, other in stay.items():
            if later > number and left > 0:
                shared.append((one.name, other))
                left -= other.count
        own = _Ask(one.name, resource, wanted.request, left) if left > 0 else None
        yield own, shared
