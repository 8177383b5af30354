"""The addresses of this node at which health check node ports answer: as far as nodePortAddresses goes.

As upstream (pkg/proxy/healthcheck, NodePortAddresses), but looked at again after each change, so that an address that comes
later is served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from pyroute2 import IPRoute

from kybern.proxy.rules import Settings

EVERYWHERE = ""
_WILDCARDS = {4: "0.0.0.0", 6: "::"}  # to listen on one version of IP alone

type Local = Callable[[], Awaitable[tuple[str, ...]]]


async def local_addresses() -> tuple[str, ...]:
    """What the links of this node bear."""
    return await asyncio.to_thread(_local)


def _local() -> tuple[str, ...]:
    with IPRoute() as kernel:
        told = (
            one.get_attr("IFA_LOCAL") or one.get_attr("IFA_ADDRESS")
            for family in (2, 10)  # AF_INET, AF_INET6
            for one in kernel.get_addr(family=family)
        )
        return tuple(str(one) for one in told if one)


def within(settings: Settings, local: Iterable[str]) -> tuple[str, ...]:
    """Which of the node's addresses node ports are for. Pure.

    A version of IP that is not limited is there as a whole, one that is not served not at all.
    """
    found: list[str] = []
    here = tuple(local)
    for version, wildcard in _WILDCARDS.items():
        if not settings.pod_network(version):
            continue
        places = settings.node_port_places(version)
        if places is None:
            found.append(wildcard)
            continue
        networks = [ip_network(place, strict=False) for place in places]
        found += (one for one in here if any(ip_address(one) in network for network in networks))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Places:
    """Asked each time, since addresses of nodes and links change. ``told`` are the addresses of the Node."""

    settings: Settings
    told: Callable[[], tuple[str, ...]]
    local: Local = local_addresses

    async def now(self) -> tuple[str, ...]:
        settings = replace(self.settings, node_addresses=self.told())
        if all(settings.node_port_places(version) is None for version in _WILDCARDS):
            return (EVERYWHERE,)
        return within(settings, await self.local())
