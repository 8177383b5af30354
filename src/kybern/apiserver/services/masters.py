"""The Service ``kubernetes`` and its endpoints: every API server that is alive.

Each server keeps a lease in the store under its address, and writes the addresses of all leases into Endpoints and
EndpointSlice. A server that dies loses its lease, and the next one to look takes it off the list. A server that stops
takes its own lease back.
"""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kybern.apiserver.local import Local
from kybern.apiserver.services.addresses import Network
from kybern.machinery.errors import AlreadyExists, ApiError
from kybern.machinery.kind import Raw
from kybern.storage.store import RevisionMismatch, Unavailable

log = logging.getLogger(__name__)

PREFIX = "/registry/masterleases/"
NAME, NAMESPACE = "kubernetes", "default"
LEASE_SECONDS, RENEW_SECONDS = 15, 5.0
_SKIP = {"endpointslice.kubernetes.io/skip-mirror": "true"}


@dataclass(frozen=True, slots=True)
class Master:
    """This server: where others reach it, and what the Service looks like."""

    address: str
    port: int
    networks: Sequence[Network]
    service_port: int = 443
    node_port: int = 0


class Masters:
    """Keeps the Service, and this server on the list."""

    def __init__(self, local: Local, master: Master, *, lease: bool) -> None:
        self._local = local
        self._master = master
        self._lease = lease

    async def ensure_service(self) -> None:
        """Make the Service and the ServiceCIDR; those that are there stay as they are."""
        for group, plural, raw in (
            (("networking.k8s.io"), "servicecidrs", self._cidr()),
            ("", "services", self._service()),
        ):
            metadata = raw["metadata"]
            if await self._local.get(group, plural, metadata.get("namespace", ""), metadata["name"]) is None:
                with contextlib.suppress(AlreadyExists):
                    await self._local.create(group, plural, raw)

    def _cidr(self) -> Raw:
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": NAME},
            "spec": {"cidrs": [str(network) for network in self._master.networks]},
        }

    def _service(self) -> Raw:
        port: Raw = {
            "name": "https",
            "protocol": "TCP",
            "port": self._master.service_port,
            "targetPort": self._master.port,
        }
        first = str(self._master.networks[0][1])
        spec: Raw = {
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "clusterIP": first,
            "clusterIPs": [first],
        }
        if self._master.node_port:
            port["nodePort"] = self._master.node_port
            spec["type"] = "NodePort"
        labels = {"component": "apiserver", "provider": "kubernetes"}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
            "spec": {**spec, "ports": [port]},
        }

    async def run(self) -> None:
        """Stay on the list until cancelled; then leave it."""
        if not self._lease:
            return
        try:
            while True:
                try:
                    await self._renew()
                    await self._publish()
                except (ApiError, Unavailable, RevisionMismatch) as problem:
                    log.warning("Cannot keep the endpoints of the API servers: %s", problem)
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            await asyncio.shield(self._leave())

    async def _leave(self) -> None:
        with contextlib.suppress(ApiError, Unavailable, RevisionMismatch, TimeoutError):
            async with asyncio.timeout(3):
                key = PREFIX + self._master.address
                stored, _ = await self._local.engine.store.get(key)
                if stored is not None:
                    await self._local.engine.store.delete(key, stored.revision)
                await self._publish()

    async def _renew(self) -> None:
        store, key = self._local.engine.store, PREFIX + self._master.address
        stored, _ = await store.get(key)
        value = (
            b'{"kind":"Endpoints","apiVersion":"v1","metadata":{},"subsets":[{"addresses":[{"ip":"%b"}]}]}'
            % self._master.address.encode()
        )
        await store.put(key, value, stored.revision if stored else 0, LEASE_SECONDS)

    async def _publish(self) -> None:
        page = await self._local.engine.store.range(PREFIX)
        found = sorted((stored.key.removeprefix(PREFIX) for stored in page.items), key=ipaddress.ip_address)
        if found:
            await self._put("", "endpoints", self._endpoints(found))
            await self._put("discovery.k8s.io", "endpointslices", self._slice(found))
        elif (there := await self._local.get("", "endpoints", NAMESPACE, NAME)) is not None and there.get(
            "subsets"
        ):
            await self._put("", "endpoints", {**self._endpoints([]), "subsets": []})

    async def _put(self, group: str, plural: str, wanted: Raw) -> None:
        there = await self._local.get(group, plural, NAMESPACE, NAME)
        if there is None:
            with contextlib.suppress(AlreadyExists):
                await self._local.create(group, plural, wanted)
            return
        same = all(
            there.get(key) == wanted[key] for key in wanted if key not in ("metadata", "apiVersion", "kind")
        )
        if not same:
            metadata = {**there["metadata"], "labels": wanted["metadata"]["labels"]}
            await self._local.update(group, plural, {**there, **wanted, "metadata": metadata})

    def _endpoints(self, found: Sequence[str]) -> Raw:
        ports = [{"name": "https", "port": self._master.port, "protocol": "TCP"}]
        return {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": dict(_SKIP)},
            "subsets": [{"addresses": [{"ip": address} for address in found], "ports": ports}],
        }

    def _slice(self, found: Sequence[str]) -> Raw:
        family = "IPv6" if ":" in found[0] else "IPv4"
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": NAME,
                "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": NAME},
            },
            "addressType": family,
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in found],
            "ports": [{"name": "https", "protocol": "TCP", "port": self._master.port}],
        }
