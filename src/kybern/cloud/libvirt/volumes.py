"""The part "volumes" of libvirt: raw volumes of a pool that a StorageClass names, on the hypervisor of the machine.

One thing at a time is done to a volume: a copy takes as long as it takes, and nobody may write to what is copied.
Copies have a connection of their own, so that a hypervisor which copies can be asked for other things meanwhile.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from kybern.cloud.libvirt import storage
from kybern.cloud.libvirt.disks import Place, place_of, short
from kybern.cloud.libvirt.hypervisor import Hypervisor
from kybern.cloud.provider import BlockVolume, CloudError, Impossible, Snapshot

POOL = "pool"
"""The parameter of a StorageClass that names a pool."""


class Volumes:
    """``hypervisors`` by name, and ``copying``, the same with more patience."""

    def __init__(
        self, cluster: str, hypervisors: Mapping[str, Hypervisor], copying: Mapping[str, Hypervisor]
    ) -> None:
        self._cluster = cluster
        self._hypervisors = hypervisors
        self._copying = copying
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def zone(self, handle: str) -> str:
        try:
            return place_of(handle).hypervisor
        except Impossible:
            return ""

    async def room(self, parameters: Mapping[str, str]) -> Mapping[str, int]:
        pool = _pool(parameters)
        zones = tuple(self._hypervisors.values())
        found = await asyncio.gather(*(one.ask(lambda line: storage.room(line, pool)) for one in zones))
        return {zone.name: bytes_ for zone, bytes_ in zip(zones, found, strict=True) if bytes_ is not None}

    async def create(
        self, name: str, size: int, zone: str, parameters: Mapping[str, str], source: str = ""
    ) -> BlockVolume:
        place = place_of(f"{zone}/{_pool(parameters)}/{short(name)}")
        if not source:
            made = await self._at(place).ask(lambda line: storage.create(line, place, size))
            return BlockVolume(str(place), made, zone)
        origin = place_of(source)
        if origin.hypervisor != zone:
            raise Impossible(f"cannot make a volume on {zone} of {origin}: a copy stays on its hypervisor")
        slow = self._at(place, copies=True)
        async with self._turns[source]:
            made = await slow.ask(lambda line: storage.clone(line, place, origin, size))
        return BlockVolume(str(place), made, zone)

    async def delete(self, handle: str) -> None:
        place = place_of(handle)
        async with self._turns[handle]:
            await self._at(place).ask(lambda line: storage.delete(line, place))
        self._turns.pop(handle, None)

    async def attach(self, handle: str, node: str, provider_id: str) -> Mapping[str, str]:
        place = place_of(handle)
        async with self._turns[handle]:
            return await self._at(place).ask(lambda line: storage.attach(line, place, self._cluster, node))

    async def detach(self, handle: str, node: str, provider_id: str) -> None:
        place = place_of(handle)
        async with self._turns[handle]:
            await self._at(place).ask(lambda line: storage.detach(line, place, self._cluster, node))

    async def expand(self, handle: str, size: int) -> int:
        place = place_of(handle)
        async with self._turns[handle]:
            return await self._at(place).ask(lambda line: storage.expand(line, place, size))

    async def snapshot(self, handle: str, name: str) -> Snapshot:
        source, place = place_of(handle), _copy(handle, name)
        async with self._turns[handle]:
            return await self._at(place, copies=True).ask(lambda line: storage.snapshot(line, place, source))

    async def delete_snapshot(self, handle: str) -> None:
        await self.delete(handle)

    async def abandon_snapshot(self, handle: str, name: str) -> None:
        async with self._turns[handle]:
            await self.delete(str(_copy(handle, name)))

    def _at(self, place: Place, *, copies: bool = False) -> Hypervisor:
        found = (self._copying if copies else self._hypervisors).get(place.hypervisor)
        if found is None:
            raise CloudError(
                f'cannot reach volume {place}: hypervisor "{place.hypervisor}" is not in the configuration'
            )
        return found

    async def close(self) -> None:
        for one in (*self._hypervisors.values(), *self._copying.values()):
            await one.close()


def _copy(handle: str, name: str) -> Place:
    """A snapshot is in the pool of its volume."""
    source = place_of(handle)
    return place_of(f"{source.hypervisor}/{source.pool}/{short(name)}")


def _pool(parameters: Mapping[str, str]) -> str:
    if strange := sorted(parameters.keys() - {POOL}):
        raise Impossible(f'parameter "{strange[0]}" is not known; there is "{POOL}"')
    if not parameters.get(POOL):
        raise Impossible(f'the class has no parameter "{POOL}", the name of a pool of libvirt\'s')
    return parameters[POOL]
