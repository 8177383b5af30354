"""The kernel's virtual servers, and beside them sets, a few chains and the device of services.

A change of services is a few messages to the kernel and, where addresses come or go, one run of ``ipset`` and ``ip`` each;
chains are written only when all is. What comes is there before packets are led to it, and what goes is led to no more.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from kybern.netfilter.programs import CannotApply
from kybern.proxy import metrics, restore
from kybern.proxy.families import version_of
from kybern.proxy.ipvs import chains, node, sets
from kybern.proxy.ipvs.kernel import Kernel
from kybern.proxy.ipvs.plan import Changes, Observed, Options, Plan
from kybern.proxy.ipvs.remains import Remains
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

    def __init__(self, settings: Settings, options: Options, kernel: Kernel | None = None) -> None:
        self.is_known = False
        self._settings, self._options, self._kernel = settings, options, kernel or Kernel()
        self._whole = 0.0
        self._plans = self._made()

    def _made(self) -> list[Plan]:
        versions = (one for one in (4, 6) if self._settings.pod_network(one))
        return [Plan(version, self._settings, self._options) for version in versions]

    async def check(self) -> None:
        """Whether the machine can serve so. Raises CannotApply, which says what is missing."""
        await self._kernel.check(self._options.scheduler)

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
            lines = await self._send([plan.changes() for plan in self._plans], all_chains=False)
        else:
            lines = await self._write_all()
            self._whole = asyncio.get_running_loop().time()
        lines += await self._drain()
        self.is_known = True
        LOG.debug("changed %d things (all looked at: %s)", lines, not known)
        return lines

    async def _write_all(self) -> int:
        kernel = self._kernel
        await kernel.prepare(self._options)
        servers, there = await kernel.servers(with_reals=True), sets.saved(await kernel.sets())
        await kernel.write_sets("".join(sets.creation(plan.version, there) for plan in self._plans))
        told = await kernel.addresses()
        if (bound := node.bound_addresses(told)) is None:
            await kernel.make_device()
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

    async def _send(self, changes: Sequence[Changes], *, all_chains: bool) -> int:
        kernel = self._kernel
        await kernel.change([change for one in changes for change in one.kept])
        pairs = zip(self._plans, changes, strict=True)
        await kernel.write_sets("".join(sets.update(plan.version, one.come, one.go) for plan, one in pairs))
        await kernel.write_addresses("".join(node.addressing(one.bind, ()) for one in changes))
        lines = await self._write_chains() if all_chains else 0
        await kernel.write_addresses("".join(node.addressing((), one.unbind) for one in changes))
        await kernel.change([change for one in changes for change in one.lost])
        return lines + sum(map(len, changes))

    async def _write_chains(self) -> int:
        lines = 0
        await self._kernel.clear_unserved(plan.version for plan in self._plans)
        for plan in self._plans:
            wanted = chains.tables(self._settings, plan.version)
            text = restore.everything(wanted, await self._kernel.chains(plan.version), chains.JUMPS)
            try:
                await self._kernel.write_chains(plan.version, text)
            except CannotApply:
                metrics.IPTABLES_FAILURES.labels(f"IPv{plan.version}").inc()
                raise
            lines += text.count("\n")
        return lines

    async def _drain(self) -> int:
        """Take away what ends and has no connection any more."""
        ending = [server for plan in self._plans for server in plan.ending]
        if not ending:
            return 0
        observed = await self._kernel.endings(ending)
        gone = [change for plan in self._plans for change in plan.drain(observed)]
        await self._kernel.change(gone)
        return len(gone)

    async def is_intact(self) -> bool:
        """Whether chains, jumps, sets, addresses and virtual servers are there. False, too, when all is to be compared."""
        if asyncio.get_running_loop().time() - self._whole > FULL:
            return False
        told, present = await self._kernel.addresses(), await self._kernel.set_names()
        if node.bound_addresses(told) != frozenset().union(*(plan.bound for plan in self._plans)):
            return False
        servers, own = await self._kernel.servers(), node.own_addresses(told)
        for plan in self._plans:
            ours = {one for one in servers if version_of(one.ip) == plan.version and plan.is_ours(one)}
            if plan.place(own) or ours != plan.servers or not sets.names(plan.version) <= present:
                return False
            if not await self._has_chains(plan.version):
                return False
        return True

    async def _has_chains(self, version: int) -> bool:
        saved = await self._kernel.chains(version)
        wanted = {table: set(held) for table, held in chains.tables(self._settings, version).items()}
        return restore.our_chains(saved) == wanted and not restore.missing_jumps(saved, chains.JUMPS)

    async def remove(self) -> None:
        for version in (4, 6):
            await self._kernel.write_chains(version, restore.removal(await self._kernel.chains(version)))
        await Remains(self._options).remove()
        self.forget()
