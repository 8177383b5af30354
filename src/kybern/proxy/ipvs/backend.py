"""The kernel's virtual servers, and beside them sets, a few chains and the device of services.

A change of services is a few messages to the kernel and, where addresses come or go, one run of ``ipset`` and ``ip`` each;
chains are written only when all is. What comes is there before packets are led to it, and what goes is led to no more.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kybern.netfilter.programs import run
from kybern.proxy import metrics, restore
from kybern.proxy.families import version_of
from kybern.proxy.ipvs import chains, node, sets
from kybern.proxy.ipvs.plan import Changes, Observed, Options, Plan
from kybern.proxy.ipvs.remains import Remains
from kybern.proxy.ipvs.servers import Change, Found, Server
from kybern.proxy.ipvs.table import table
from kybern.proxy.model import ServicePort
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Key

LOG = logging.getLogger(__name__)
# Seconds until everything is compared with what the kernel has, whatever it seems to have: members of sets and real servers
# are not looked at in between.
FULL = 3600.0


class Ipvs:
    """What is in the kernel, brought to what is wanted.

    A change sends only what differs. The next call after ``forget`` looks at all of the kernel first. Real servers that
    were taken out of service are looked after with every call.
    """

    failures = metrics.IPTABLES_FAILURES

    def __init__(self, settings: Settings, options: Options) -> None:
        self.is_known = False
        self._settings, self._options = settings, options
        self._whole = 0.0
        self._plans = self._made()

    def _made(self) -> list[Plan]:
        versions = (one for one in (4, 6) if self._settings.pod_network(one))
        return [Plan(version, self._settings, self._options) for version in versions]

    async def check(self) -> None:
        """Whether the machine can serve so. Raises CannotApply, which says what is missing."""
        await run("ipset", "version")
        await asyncio.to_thread(self._try)

    def _try(self) -> None:
        with table() as kernel:
            if not any(one.terms.scheduler == self._options.scheduler for one in kernel.servers().values()):
                kernel.try_scheduler(self._options.scheduler)

    def settle(self, addresses: tuple[str, ...]) -> bool:
        if addresses == self._settings.node_addresses:
            return False
        self._settings = replace(self._settings, node_addresses=addresses)
        self._plans = self._made()
        self.forget()
        return True

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        for plan in self._plans:
            plan.put(service, [port for port in ports if version_of(port.cluster_ip) == plan.version])

    def forget(self) -> None:
        self.is_known = False

    async def apply(self) -> int:
        known, self.is_known = self.is_known, False
        if known:
            changes = [plan.changes() for plan in self._plans]
            lines = await self._send(changes)
        else:
            lines = await self._write_all()
            self._whole = asyncio.get_running_loop().time()
        lines += await self._drain()
        self.is_known = True
        LOG.debug("changed %d things (all looked at: %s)", lines, not known)
        return lines

    async def _write_all(self) -> int:
        servers = await asyncio.to_thread(self._prepared)
        there = sets.saved(await run("ipset", "save"))
        if text := "".join(sets.creation(plan.version, there) for plan in self._plans):
            await run("ipset", "restore", stdin=text)
        told = await node.addresses()
        if (bound := node.bound_addresses(told)) is None:
            await node.make_device()
        changes = []
        for plan in self._plans:
            plan.place(node.own_addresses(told))
            observed = Observed(
                {server: found for server, found in servers.items() if version_of(server.ip) == plan.version},
                frozenset(sets.entries(there, plan.version)),
                frozenset(ip for ip in bound or () if version_of(ip) == plan.version),
            )
            changes.append(plan.everything(observed))
        return await self._send(changes, all_chains=True)

    def _prepared(self) -> Mapping[Server, Found]:
        """The kernel as it has to be for all of it; gives the servers that it has."""
        options = self._options
        with table() as kernel:
            node.set_all(node.settings(options))
            kernel.set_timeouts(options.tcp_timeout, options.tcp_fin_timeout, options.udp_timeout)
            return kernel.with_reals(kernel.servers().items())

    async def _send(self, changes: Sequence[Changes], *, all_chains: bool = False) -> int:
        await _change([change for one in changes for change in one.kept])
        pairs = list(zip(self._plans, changes, strict=True))
        if text := "".join(sets.update(plan.version, one.come, one.go) for plan, one in pairs):
            await run("ipset", "-exist", "restore", stdin=text)
        addressing = "".join(node.addressing(one.bind, ()) for one in changes)
        if addressing:
            await run("ip", "-batch", "-", stdin=addressing)
        lines = await self._write_chains() if all_chains else 0
        if addressing := "".join(node.addressing((), one.unbind) for one in changes):
            await run("ip", "-batch", "-", stdin=addressing)
        await _change([change for one in changes for change in one.lost])
        return lines + sum(map(len, changes))

    async def _write_chains(self) -> int:
        lines = 0
        for plan in self._plans:
            save, write = chains.programs(plan.version)
            wanted = chains.tables(self._settings, plan.version)
            text = restore.everything(wanted, await run(save), chains.JUMPS)
            await run(write, "--wait=10", "--noflush", stdin=text)
            lines += text.count("\n")
        return lines

    async def _drain(self) -> int:
        """Take away what ends and has no connection any more."""
        ending = [server for plan in self._plans for server in plan.ending]
        if not ending:
            return 0
        observed = await asyncio.to_thread(_endings, ending)
        gone = [change for plan in self._plans for change in plan.drain(observed)]
        await _change(gone)
        return len(gone)

    async def is_intact(self) -> bool:
        """Whether chains, jumps, sets, addresses and virtual servers are there. False, too, when all is to be compared."""
        if asyncio.get_running_loop().time() - self._whole > FULL:
            return False
        told, present = await node.addresses(), set((await run("ipset", "list", "-name")).split())
        bound, own = node.bound_addresses(told), node.own_addresses(told)
        if bound != frozenset().union(*(plan.bound for plan in self._plans)):
            return False
        servers = await asyncio.to_thread(_servers)
        for plan in self._plans:
            ours = {one for one in servers if version_of(one.ip) == plan.version and plan.is_ours(one)}
            if plan.place(own) or ours != plan.servers or not sets.names(plan.version) <= present:
                return False
            if not await self._has_chains(plan.version):
                return False
        return True

    async def _has_chains(self, version: int) -> bool:
        saved = await run(chains.programs(version)[0])
        wanted = {table: set(held) for table, held in chains.tables(self._settings, version).items()}
        return restore.our_chains(saved) == wanted and not restore.missing_jumps(saved, chains.JUMPS)

    async def remove(self) -> None:
        save, write = chains.programs(4)
        if text := restore.removal(await run(save)):
            await run(write, "--wait=10", "--noflush", stdin=text)
        await Remains(self._options).remove()
        self.forget()


async def _change(changes: Sequence[Change]) -> None:
    if changes:
        await asyncio.to_thread(_apply, changes)


def _apply(changes: Sequence[Change]) -> None:
    with table() as kernel:
        kernel.apply(changes)


def _endings(servers: Sequence[Server]) -> Mapping[Server, Found]:
    with table() as kernel:
        return kernel.endings(servers)


def _servers() -> Mapping[Server, Found]:
    with table() as kernel:
        return kernel.servers()
