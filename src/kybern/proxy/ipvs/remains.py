"""What ipvs leaves beside chains of iptables: virtual servers, sets, and the device of services, to be taken away.

Chains go first, with the backend that takes over (``proxy.restore``): a set cannot go while a rule names it. Where there is
neither the device nor a set of ours, nothing is asked of IPVS, whose module would be loaded by that.
"""

import asyncio
from ipaddress import ip_address, ip_network

from kybern.netfilter.programs import Missing, run
from kybern.proxy.ipvs import node, sets
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.servers import Change, Command, Server
from kybern.proxy.ipvs.table import table


class Remains:
    """``options`` say which virtual servers are somebody else's."""

    def __init__(self, options: Options) -> None:
        self._options = options

    async def remove(self) -> None:
        """Raises CannotApply."""
        told = await node.addresses()
        bound, present = node.bound_addresses(told), await _sets()
        if bound is not None:
            ours = bound | set(node.own_addresses(told))
            await asyncio.to_thread(_remove_servers, ours, self._options)
            await node.remove_device()
        if text := sets.removal(present):
            await run("ipset", "restore", stdin=text)


async def _sets() -> set[str]:
    """Names of our sets that are there; none where there is no program to make any."""
    try:
        return set((await run("ipset", "list", "-name")).split()) & (sets.names(4) | sets.names(6))
    except Missing:
        return set()


def leaving(server: Server, ours: frozenset[str] | set[str], options: Options) -> bool:
    """Whether a server goes: it is at an address of a service, or of the node, and in no network of somebody else. Pure."""
    excluded = (ip_network(one, strict=False) for one in options.excluded)
    return server.ip in ours and not any(ip_address(server.ip) in one for one in excluded)


def _remove_servers(ours: frozenset[str] | set[str], options: Options) -> None:
    with table() as kernel:
        kernel.apply(
            [
                Change(Command.DEL_SERVICE, server)
                for server in kernel.servers()
                if leaving(server, ours, options)
            ]
        )
