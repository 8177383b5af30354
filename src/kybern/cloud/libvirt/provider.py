"""The provider "libvirt": instances and zones, and volumes where it may change things (docs/adr/0035).

Balancers and routes are other daemons' (docs/adr/0034).

That a machine is gone is said only when every hypervisor has answered: a domain keeps its UUID when it moves, and one that
cannot be asked may have it.
"""

import asyncio
from collections.abc import Mapping

from kybern.cloud.libvirt.config import Config, read
from kybern.cloud.libvirt.domains import Domain, place
from kybern.cloud.libvirt.hypervisor import PATIENCE, Hypervisor
from kybern.cloud.libvirt.volumes import Volumes
from kybern.cloud.provider import CloudError, Instance, Zone

COPY = 1800.0  # seconds for a copy of a whole volume


class Libvirt:
    """``hypervisors`` by their names."""

    load_balancers = None
    routes = None

    def __init__(
        self, config: Config, hypervisors: Mapping[str, Hypervisor], volumes: Volumes | None = None
    ) -> None:
        self._config = config
        self._hypervisors = hypervisors
        self.volumes = volumes

    @property
    def instances(self) -> "Libvirt":
        return self

    @property
    def zones(self) -> "Libvirt":
        return self

    async def find(self, node: str, provider_id: str) -> Instance | None:
        found = await self._find(node, provider_id)
        if found is None:
            return None
        hypervisor, domain = found
        instance = domain.instance(hypervisor.name)
        # A domain that moved is the same machine: what the node has already is what it keeps.
        return _with_id(instance, provider_id) if provider_id else instance

    async def zone(self, node: str, provider_id: str) -> Zone:
        found = await self._find(node, provider_id)
        if found is None:
            raise CloudError(f"cannot tell the zone of {node}: no hypervisor has its machine")
        return Zone(found[0].name, self._config.region)

    async def close(self) -> None:
        if self.volumes is not None:
            await self.volumes.close()
        for one in self._hypervisors.values():
            await one.close()

    async def _find(self, node: str, provider_id: str) -> tuple[Hypervisor, Domain] | None:
        if provider_id:
            return await self._by_id(provider_id)
        found = [
            (one, domain)
            for one, listed in zip(self._hypervisors.values(), await self._listed(), strict=True)
            for domain in listed
            if (domain.cluster, domain.node) == (self._config.cluster, node)
        ]
        if len(found) > 1:
            places = " and ".join(f"{one.name}/{domain.uuid}" for one, domain in found)
            raise CloudError(f"cannot tell which machine is {node}: {places} are both called so")
        return found[0] if found else None

    async def _listed(self) -> list[tuple[Domain, ...]]:
        return await asyncio.gather(*(one.all() for one in self._hypervisors.values()))

    async def _by_id(self, provider_id: str) -> tuple[Hypervisor, Domain] | None:
        try:
            name, uuid = place(provider_id)
        except ValueError as problem:
            raise CloudError(f"cannot find the machine of a node: {problem}") from problem
        home = self._hypervisors.get(name)
        if home is not None and (domain := await home.by_uuid(uuid)) is not None:
            return home, domain
        others = [one for one in self._hypervisors.values() if one is not home]
        for one, domain in zip(
            others, await asyncio.gather(*(one.by_uuid(uuid) for one in others)), strict=True
        ):
            if domain is not None:
                return one, domain
        if home is None:
            raise CloudError(f'cannot find {provider_id}: hypervisor "{name}" is not in the configuration')
        return None


def _with_id(instance: Instance, provider_id: str) -> Instance:
    return Instance(
        provider_id, instance.running, instance.instance_type, instance.addresses, instance.labels
    )


def open_provider(text: str) -> Libvirt:
    """What the entry point names."""
    config = read(text)
    volumes = Volumes(config.cluster, _writing(config), _writing(config, COPY)) if config.volumes else None
    readers = {name: Hypervisor(name, uri) for name, uri in config.hypervisors.items()}
    return Libvirt(config, readers, volumes)


def _writing(config: Config, patience: float = PATIENCE) -> dict[str, Hypervisor]:
    return {name: Hypervisor(name, uri, patience, writes=True) for name, uri in config.hypervisors.items()}
