"""Gives back what no Service holds any more, as a crash between two writes leaves behind.

Something is given back only when two looks in a row, minutes apart, find it without an owner: a Service that is just
being made has taken its address before it is there.
"""

import asyncio
import logging

from kybern.apiserver.engine import Engine
from kybern.apiserver.services.addresses import GROUP, MANAGER, PLURAL, Addresses
from kybern.apiserver.services.guard import addresses_of, ports_of
from kybern.apiserver.services.ports import Ports
from kybern.machinery.errors import ApiError
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

EVERY_SECONDS = 180.0


class Repair:
    def __init__(self, engine: Engine, addresses: Addresses, ports: Ports) -> None:
        self._engine = engine
        self._addresses = addresses
        self._ports = ports
        self._suspects: set[tuple[str, str, str]] = set()
        self._suspect_ports: set[int] = set()

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except (ApiError, Unavailable) as problem:
                log.warning("Cannot look after addresses of Services: %s", problem)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """One look; what the last one found without an owner, too, is given back."""
        taken = await self._ports.taken()
        given = await self._engine.lookup.list(GROUP, PLURAL)
        services = await self._engine.lookup.list("", "services")
        held = {
            (ip, raw["metadata"]["namespace"], raw["metadata"]["name"])
            for raw in services
            for ip in addresses_of(raw)
        }
        used = {port for raw in services for port in ports_of(raw)}
        lost = {one for one in (_claim(raw) for raw in given) if one and one not in held}
        for address, namespace, name in lost & self._suspects:
            log.info("Giving back %s, which no Service holds", address)
            await self._addresses.release(address, namespace, name)
        await self._ports.release((taken - used) & self._suspect_ports)
        self._suspects, self._suspect_ports = lost - self._suspects, set(taken - used) - self._suspect_ports


def _claim(raw: dict[str, object]) -> tuple[str, str, str] | None:
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    assert isinstance(metadata, dict)
    assert isinstance(spec, dict)
    if (metadata.get("labels") or {}).get("ipaddress.kubernetes.io/managed-by") != MANAGER:
        return None
    parent = spec.get("parentRef") or {}
    return metadata["name"], parent.get("namespace", ""), parent.get("name", "")
