"""Finds the address behind a pod, a Service or a node that a client wants to reach through this server.

What holds: only addresses of pods and nodes are given, never ones that somebody made up: an endpoint that is not the pod
which it names is passed over, and nothing on this machine or on no network can be reached.
"""

import asyncio
import random
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from kybern.apiserver import problems
from kybern.apiserver.engine import Call
from kybern.apiserver.lookup import CacheLookup
from kybern.apiserver.passing.places import Place
from kybern.apiserver.passing.pods import Ready, addresses, first_port, of_endpoints, of_slice, proxyable
from kybern.apiserver.services.reach import SERVICE_NAME
from kybern.apiserver.subresources.log import Kubelets
from kybern.machinery.errors import BadRequest, ServiceUnavailable
from kybern.machinery.kind import Raw

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOKUP_SECONDS = 5


@dataclass(frozen=True, slots=True)
class There:
    """Where to go. ``kubelet``: with this server's certificate."""

    scheme: str
    host: str
    port: int
    kubelet: bool = False


class Finder:
    """``find`` gives the place that a call means. Raises NotFound, BadRequest, ServiceUnavailable."""

    def __init__(self, lookup: CacheLookup, kubelets: Kubelets) -> None:
        self._lookup = lookup
        self._kubelets = kubelets
        self._of = {"pods": self._pod, "services": self._service, "nodes": self._node}

    def knows(self, plural: str) -> bool:
        return plural in self._of

    async def find(self, call: Call, wanted: Place) -> There:
        return await self._of[call.kind.plural](call, wanted)

    async def _named(self, call: Call, wanted: Place) -> Raw:
        found = await self._lookup.get_live("", call.kind.plural, call.namespace, wanted.name)
        if found is None:
            raise problems.not_found(call.kind, wanted.name)
        return found

    async def _node(self, call: Call, wanted: Place) -> There:
        kubelet = urlsplit(self._kubelets.base(await self._named(call, wanted)))
        host, port = kubelet.hostname or "", kubelet.port or 0
        if wanted.port in ("", str(port)):
            return There(kubelet.scheme, host, port, kubelet=True)
        await _check_name(host)
        return There(wanted.scheme or "http", host, _number(call, wanted))

    async def _pod(self, call: Call, wanted: Place) -> There:
        pod = await self._named(call, wanted)
        address = next(iter(addresses(pod)), "")
        if not proxyable(address):
            raise BadRequest("address not allowed")
        scheme = wanted.scheme or "http"
        port = _number(call, wanted) if wanted.port else first_port(pod) or _DEFAULT_PORTS[scheme]
        return There(scheme, address, port)

    async def _service(self, call: Call, wanted: Place) -> There:
        port = await self._port_name(call, wanted) if wanted.port.isdigit() else wanted.port
        ready = await self._ready(call, wanted.name, port)
        random.shuffle(ready)
        for (address, number), pod in ready:
            if await self._is_pods(call, address, pod):
                return There(wanted.scheme or "http", address, number)
        raise ServiceUnavailable(f'no endpoints available for service "{call.name}"')

    async def _port_name(self, call: Call, wanted: Place) -> str:
        for port in (await self._named(call, wanted))["spec"].get("ports") or ():
            if port.get("port") == int(wanted.port):
                return str(port.get("name") or "")
        raise ServiceUnavailable(f'no service port {wanted.port} found for service "{wanted.name}"')

    async def _ready(self, call: Call, service: str, port: str) -> list[Ready]:
        """Addresses of a port that are ready, each with what it says that it is."""
        label = SERVICE_NAME, service
        slices = await self._lookup.labelled("discovery.k8s.io", "endpointslices", call.namespace, label)
        ready = [found for one in slices for found in of_slice(one, port)]
        if ready:
            return ready
        endpoints = await self._lookup.get("", "endpoints", call.namespace, service)
        if endpoints is None and not slices:
            kind = call.engine.table.kind("", "endpoints")
            assert kind is not None
            raise problems.not_found(kind, service)
        return list(of_endpoints(endpoints or {}, port))

    async def _is_pods(self, call: Call, address: str, target: Raw) -> bool:
        """Whether an address belongs to the pod that its endpoint names: who writes endpoints may not go anywhere."""
        if target.get("kind", "Pod") != "Pod" or target.get("namespace") != call.namespace:
            return False
        pod = await self._lookup.get("", "pods", call.namespace, str(target.get("name")))
        return pod is not None and address in addresses(pod)


def _number(call: Call, wanted: Place) -> int:
    if wanted.port.isdigit() and 0 < int(wanted.port) < 65536:
        return int(wanted.port)
    raise BadRequest(f'invalid {call.kind.singular} request "{call.name}"')


async def _check_name(host: str) -> None:
    """Raises BadRequest for a name or address that stands for no other machine."""
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as problem:
        raise BadRequest(f"lookup {host}: no such host") from problem
    if not all(proxyable(str(one[4][0])) for one in found):
        raise BadRequest("address not allowed")
