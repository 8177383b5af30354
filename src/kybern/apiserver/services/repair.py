"""Keeps what Services hold and what is given to them the same.

Something is given back only when two looks in a row, minutes apart, find it without an owner: a Service that is just
being made has taken its address before it is there, and a crash between the two leaves it taken. What a Service holds and
nobody gave it, since somebody deleted or changed an IPAddress, say, is given to it as soon as it is seen: another one might
get it otherwise.
"""

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_address

from kybern.apiserver.engine import Engine
from kybern.apiserver.local import Local
from kybern.apiserver.services import discrepancies
from kybern.apiserver.services.addresses import (
    GROUP,
    MANAGER,
    PLURAL,
    Addresses,
    Network,
    OutOfRange,
    Taken,
)
from kybern.apiserver.services.discrepancies import Told, addresses_of, held_by, of_address, ports_of
from kybern.apiserver.services.ports import Ports
from kybern.machinery import times
from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Raw
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

EVERY_SECONDS = 180.0


class Repair:
    def __init__(self, engine: Engine, addresses: Addresses, ports: Ports) -> None:
        self._engine = engine
        self._local = Local(engine)
        self._addresses = addresses
        self._ports = ports
        self._suspects: set[tuple[str, str, str]] = set()
        self._suspect_ports: set[int] = set()
        self._told: set[tuple[str, Told]] = set()

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
        await self._give_back(taken, given, services)
        there = {raw["metadata"]["uid"] for raw in services}
        self._told = {(uid, told) for uid, told in self._told if uid in there}
        await self._of_addresses(given, services)
        await self._of_ports(services)

    async def _give_back(self, taken: frozenset[int], given: Sequence[Raw], services: Sequence[Raw]) -> None:
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

    async def _of_addresses(self, given: Sequence[Raw], services: Sequence[Raw]) -> None:
        by_name = {raw["metadata"]["name"]: raw for raw in given}
        held, ranges = held_by(services), await self._addresses.ranges()
        for service in services:
            for address in addresses_of(service):
                there = by_name.get(str(ip_address(address)))
                if of_address(service, address, there, held, ranges) is not None:
                    await self._of_address(service, address, held, ranges)

    async def _of_address(
        self, seen: Raw, address: str, held: discrepancies.Held, ranges: Sequence[Network]
    ) -> None:
        """The caches may be behind each other: what is stored decides."""
        service = await self._now(seen)
        if service is None or address not in addresses_of(service):
            return
        there = await self._local.get(GROUP, PLURAL, "", str(ip_address(address)))
        found = of_address(service, address, there, held, ranges)
        if found is None:
            return
        await self._tell(service, found.told, once=not found.repaired)
        if found.repaired:
            metadata = service["metadata"]
            try:
                await self._addresses.retake(address, metadata["namespace"], metadata["name"])
            except (Taken, OutOfRange) as problem:
                log.warning("Cannot give %s to the Service that holds it: %s", address, problem)

    async def _of_ports(self, services: Sequence[Raw]) -> None:
        """Ports are read again: those of Services that were made since the first time are taken by now."""
        first, last = self._ports.first, self._ports.last
        taken = await self._ports.taken()
        for seen in discrepancies.of_ports(services, taken, first, last):
            service = await self._now(seen.service)
            if service is not None and seen.port in ports_of(service):
                await self._tell(service, seen.told, once=not seen.repaired)
                if seen.repaired:
                    await self._ports.retake((seen.port,))

    async def _now(self, service: Raw) -> Raw | None:
        metadata = service["metadata"]
        found = await self._local.get("", "services", metadata["namespace"], metadata["name"])
        return found if found is not None and found["metadata"]["uid"] == metadata["uid"] else None

    async def _tell(self, service: Raw, told: Told | None, *, once: bool) -> None:
        """An event; ``once`` for what stays as it is until somebody writes the Service."""
        metadata = service["metadata"]
        if told is None or (metadata["uid"], told) in self._told:
            return
        if once:
            self._told.add((metadata["uid"], told))
        log.warning("Service %s/%s: %s", metadata["namespace"], metadata["name"], told.message)
        try:
            await self._local.create("", "events", _event(metadata, told, self._engine.clock()))
        except ApiError as refused:  # its namespace is going, say
            log.warning("Cannot write an event about Service %s: %s", metadata["name"], refused)


def _event(metadata: Raw, told: Told, now: float) -> Raw:
    when = times.of_unix(now)
    about: Raw = {
        "apiVersion": "v1",
        "kind": "Service",
        **{key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion") if key in metadata},
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": about,
        "type": "Warning",
        "reason": told.reason,
        "message": told.message,
        "source": {"component": told.component},
        "reportingComponent": told.component,
        "count": 1,
        "firstTimestamp": when,
        "lastTimestamp": when,
    }


def _claim(raw: Raw) -> tuple[str, str, str] | None:
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    if (metadata.get("labels") or {}).get("ipaddress.kubernetes.io/managed-by") != MANAGER:
        return None
    parent = spec.get("parentRef") or {}
    return metadata["name"], parent.get("namespace", ""), parent.get("name", "")
