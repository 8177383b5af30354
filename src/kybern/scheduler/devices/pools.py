"""The devices that drivers offer, as one node sees them. Pure.

A pool's slices belong together by their generation: older ones are out of date. While the newest are not all there the
pool is incomplete; its devices may be used, but nobody can say what "all" of them are.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kybern.api.core_v1 import Node, NodeSelector
from kybern.api.node_selection import matches
from kybern.api.resource_v1 import Device, ResourceSlice
from kybern.machinery.quantity import parse


class DeviceId(NamedTuple):
    driver: str
    pool: str
    device: str


class CounterId(NamedTuple):
    driver: str
    pool: str
    set: str
    counter: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A device, and the slice that offers it."""

    id: DeviceId
    device: Device
    slice: ResourceSlice

    @property
    def selector(self) -> NodeSelector | None:
        """The nodes that can use it, when that is told by a selector."""
        return self.device.node_selector or self.slice.spec.node_selector

    @property
    def node_name(self) -> str:
        return self.device.node_name or self.slice.spec.node_name

    @property
    def version(self) -> tuple[str, str, str]:
        """Another one when the device may have changed."""
        meta = self.slice.metadata
        return meta.name, meta.resource_version, self.device.name

    def consumes(self) -> Iterator[tuple[CounterId, int]]:
        """What it takes of the pool's shared counters, in billionths."""
        for one in self.device.consumes_counters:
            for name, counter in one.counters.items():
                yield (
                    CounterId(self.id.driver, self.id.pool, one.counter_set, name),
                    parse(counter.value).nano,
                )


@dataclass(slots=True)
class Pool:
    """``offers`` are all of its devices, whatever the node; ``counters`` what there is of shared ones."""

    driver: str
    name: str
    complete: bool
    valid: bool
    offers: tuple[Offer, ...]
    counters: Mapping[CounterId, int] = field(default_factory=dict)


def gather(slices: Iterable[ResourceSlice]) -> tuple[Pool, ...]:
    """All pools, in the order of their names; last those with devices that have to be made ready first."""
    found: dict[tuple[str, str], list[ResourceSlice]] = defaultdict(list)
    for one in slices:
        found[one.spec.driver, one.spec.pool.name].append(one)
    pools = [_pool(*key, found[key]) for key in sorted(found)]
    return tuple(sorted(pools, key=lambda pool: any(one.device.binding_conditions for one in pool.offers)))


def _pool(driver: str, name: str, slices: list[ResourceSlice]) -> Pool:
    newest = max(one.spec.pool.generation or 0 for one in slices)
    current = [one for one in slices if (one.spec.pool.generation or 0) == newest]
    current.sort(key=lambda one: one.metadata.name)
    offers = tuple(
        Offer(DeviceId(driver, name, device.name), device, one)
        for one in current
        for device in one.spec.devices
    )
    counters = {
        CounterId(driver, name, shared.name, counter): parse(value.value).nano
        for one in current
        for shared in one.spec.shared_counters
        for counter, value in shared.counters.items()
    }
    return Pool(
        driver,
        name,
        complete=len(current) == (current[0].spec.pool.resource_slice_count or 0),
        valid=len({offer.id for offer in offers}) == len(offers),
        offers=offers,
        counters=counters,
    )


def reaches(offer: Offer, node: Node) -> bool:
    """Whether the node can use the device."""
    spec, device = offer.slice.spec, offer.device
    where = device if spec.per_device_node_selection else spec
    if where.all_nodes:
        return True
    if where.node_name:
        return where.node_name == node.metadata.name
    selector = where.node_selector
    return selector is not None and any(matches(term, node) for term in selector.node_selector_terms)
