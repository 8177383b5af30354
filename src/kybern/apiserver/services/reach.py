"""Where to dial for a Service: the server's own way to webhooks and aggregated servers.

The server need not be on a node, so it goes to a ready endpoint rather than through a Service's address, which only
kube-proxy makes work; that address is the last resort. Nothing is remembered: all is read from the caches that clients'
lists come from. Refusals are in upstream's words (apiserver/pkg/util/proxy), since they end up in clients' errors.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.kind import Raw

SERVICE_NAME = "kubernetes.io/service-name"
_HEADLESS = "None"
_ROUTED = ("ClusterIP", "NodePort", "LoadBalancer")

type Address = tuple[str, int]


class Objects(Protocol):
    """What is read here; see ``lookup.CacheLookup``."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None: ...

    async def labelled(
        self, group: str, plural: str, namespace: str, label: tuple[str, str]
    ) -> list[Raw]: ...


def tls_name(namespace: str, service: str) -> str:
    """The name that a Service's certificate is for, wherever it is dialled."""
    return f"{service}.{namespace}.svc"


class Reach:
    """Gives addresses of Services. ``choose`` picks one of several endpoints."""

    def __init__(
        self, objects: Objects, choose: Callable[[Sequence[Address]], Address] = random.choice
    ) -> None:
        self._objects = objects
        self._choose = choose

    async def address(self, namespace: str, service: str, port: int) -> Address:
        """Host and port behind a Service's port. Raises ServiceUnavailable."""
        found = await self._objects.get("", "services", namespace, service)
        if found is None:
            raise ServiceUnavailable(f'service "{service}" not found')
        spec = found.get("spec") or {}
        kind = spec.get("type") or "ClusterIP"
        if kind == "ExternalName":
            return str(spec.get("externalName", "")), port
        if kind not in _ROUTED:
            raise ServiceUnavailable(f'unsupported service type "{kind}"')
        asked = _port(spec, service, port)
        ready = await self._ready(namespace, service, asked.get("name") or "")
        if ready:
            return self._choose(ready)
        address = spec.get("clusterIP") or _HEADLESS
        if address == _HEADLESS:
            raise ServiceUnavailable(f'no endpoints available for service "{service}"')
        return str(address), port

    async def _ready(self, namespace: str, service: str, port: str) -> list[Address]:
        slices = await self._objects.labelled(
            "discovery.k8s.io", "endpointslices", namespace, (SERVICE_NAME, service)
        )
        if slices:
            return [address for one in slices for address in of_slice(one, port)]
        endpoints = await self._objects.get("", "endpoints", namespace, service)
        return list(of_endpoints(endpoints or {}, port))


def _port(spec: Raw, service: str, number: int) -> Raw:
    """The Service's port of a number. Raises ServiceUnavailable."""
    for port in spec.get("ports") or ():
        if port.get("port") == number:
            found: Raw = port
            return found
    raise ServiceUnavailable(f'no service port {number} found for service "{service}"')


def of_slice(found: Raw, port: str) -> Iterator[Address]:
    """Ready addresses of a slice for the port of a name. What says nothing of being ready is ready."""
    numbers = [
        one["port"] for one in found.get("ports") or () if (one.get("name") or "") == port and one.get("port")
    ]
    for endpoint in found.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready", True) is False:
            continue
        for number in numbers[:1]:
            # All addresses of an endpoint are of one machine; upstream takes the first.
            yield str(endpoint["addresses"][0]), int(number)


def of_endpoints(found: Raw, port: str) -> Iterator[Address]:
    """The same of an older Endpoints object, for Services whose endpoints nobody brings into slices."""
    for subset in found.get("subsets") or ():
        for one in subset.get("ports") or ():
            if (one.get("name") or "") == port:
                for address in subset.get("addresses") or ():
                    yield str(address["ip"]), int(one["port"])
