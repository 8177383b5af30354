"""Everything that the ipvs backend reads from the machine and writes to it. What it raises is CannotApply."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from kybern.netfilter.programs import run
from kybern.proxy import tables, tunables
from kybern.proxy.families import BOTH, Family
from kybern.proxy.ipvs import node
from kybern.proxy.ipvs.plan import Options
from kybern.proxy.ipvs.servers import Change, Found, Server
from kybern.proxy.ipvs.table import table


class Kernel:
    """Virtual servers by netlink, in a thread since there may be many; the rest by its programs."""

    async def check(self, scheduler: str) -> None:
        """Whether virtual servers can be had, and choose so."""
        await run("ipset", "version")
        await asyncio.to_thread(_try, scheduler)

    async def prepare(self, options: Options) -> None:
        """Settings of the kernel, which appear with its module, and how long it keeps connections."""
        await asyncio.to_thread(_prepare, options)

    async def servers(self, *, with_reals: bool = False) -> Mapping[Server, Found]:
        return await asyncio.to_thread(_servers, with_reals)

    async def endings(self, servers: Sequence[Server]) -> Mapping[Server, Found]:
        """Some servers' real servers; no server that is gone."""
        return await asyncio.to_thread(_endings, servers)

    async def change(self, changes: Sequence[Change]) -> None:
        if changes:
            await asyncio.to_thread(_apply, changes)

    async def sets(self) -> str:
        """As ``ipset save`` prints all of them."""
        return await run("ipset", "save")

    async def set_names(self) -> set[str]:
        return set((await run("ipset", "list", "-name")).split())

    async def write_sets(self, text: str) -> None:
        """Members that are there already, or gone, are no error."""
        if text:
            await run("ipset", "-exist", "restore", stdin=text)

    async def addresses(self) -> str:
        """As ``ip -json address show`` prints them."""
        return await node.addresses()

    async def make_device(self) -> None:
        await node.make_device()

    async def write_addresses(self, text: str) -> None:
        if text:
            await run("ip", "-batch", "-", stdin=text)

    async def chains(self, version: int) -> str:
        """As ``iptables-save`` prints them."""
        return await tables.saved(_family(version))

    async def write_chains(self, version: int, text: str) -> None:
        await tables.write(_family(version), text)

    async def clear_unserved(self, versions: Iterable[int]) -> None:
        """Take away the chains of other versions of IP."""
        await tables.clear_unserved(versions)


def _family(version: int) -> Family:
    return next(one for one in BOTH if one.version == version)


def _try(scheduler: str) -> None:
    with table() as kernel:
        if not any(one.terms.scheduler == scheduler for one in kernel.servers().values()):
            kernel.try_scheduler(scheduler)


def _prepare(options: Options) -> None:
    with table() as kernel:
        tunables.set_all(node.settings(options))
        kernel.set_timeouts(options.tcp_timeout, options.tcp_fin_timeout, options.udp_timeout)


def _servers(with_reals: bool) -> Mapping[Server, Found]:
    with table() as kernel:
        found = kernel.servers()
        return kernel.with_reals(found.items()) if with_reals else found


def _endings(servers: Sequence[Server]) -> Mapping[Server, Found]:
    with table() as kernel:
        return kernel.endings(servers)


def _apply(changes: Sequence[Change]) -> None:
    with table() as kernel:
        kernel.apply(changes)
