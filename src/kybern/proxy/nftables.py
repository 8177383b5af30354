"""The kernel's tables ``ip kube-proxy`` and ``ip6 kube-proxy`` through ``nft``.

What others have in other tables is never looked at, nor touched.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kybern.netfilter.generation import Seen, Writes
from kybern.netfilter.programs import CannotApply, run
from kybern.proxy import metrics
from kybern.proxy.families import BOTH, Family, version_of
from kybern.proxy.model import ServicePort
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Key
from kybern.proxy.transaction import BASES, NAME, Present, Table

LOG = logging.getLogger(__name__)
# Seconds until all is written anew whatever the kernel seems to have, as upstream's FullSyncPeriod: elements that somebody
# took from a map are not looked for in between, since reading all of them takes as long as writing them.
FULL = 3600.0


class Nftables:
    """What is in the kernel, brought to what is wanted with one transaction of ``nft`` a change.

    A change sends only the elements and chains that differ. The next call after ``forget`` writes all of them; should the
    kernel refuse that, because a table of this name holds something else under our names, the table is made anew.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_known = False
        self._settings = settings
        self._whole = 0.0
        self._seen = Seen()
        self._tables = self._made()

    def _made(self) -> list[Table]:
        return [Table(each, self._settings) for each in BOTH if self._settings.pod_network(each.version)]

    def settle(self, addresses: tuple[str, ...]) -> bool:
        if addresses == self._settings.node_addresses:
            return False
        self._settings = replace(self._settings, node_addresses=addresses)
        self._tables = self._made()
        self.forget()
        return True

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        for table in self._tables:
            version = table.family.version
            table.put(service, [port for port in ports if version_of(port.cluster_ip) == version])

    def forget(self) -> None:
        self.is_known = False

    async def apply(self) -> int:
        try:
            text = await self._write()
        except CannotApply:
            for table in self._tables:  # one transaction is of all of them
                metrics.NFTABLES_FAILURES.labels(table.family.title).inc()
            raise
        LOG.debug("sent %d lines to nft", text.count("\n"))
        return text.count("\n")

    async def _write(self) -> str:
        known, self.is_known = self.is_known, False
        with self._seen.writing(whole=not known) as writes:
            if known:
                text = "".join(table.changes() for table in self._tables)
                await _send(text, writes)
            else:
                text = await self._write_all(writes)
                self._whole = asyncio.get_running_loop().time()
        self.is_known = True
        return text

    async def _write_all(self, writes: Writes) -> str:
        present = [await _present(table.family) for table in self._tables]
        text = "".join(table.everything(there) for table, there in zip(self._tables, present, strict=True))
        try:
            await _send(text, writes)
        except CannotApply as problem:
            if not any(there.chains for there in present):
                raise
            for table in self._tables:
                metrics.CLEANUP_FAILURES.labels(table.family.title).inc()
            LOG.warning("cannot bring the table %s up to date: %s; making it anew", NAME, problem)
            text = "".join(table.removal() + table.everything(Present()) for table in self._tables)
            await _send(text, writes)
        return text

    async def is_intact(self) -> bool:
        """Whether our chains are all still there and have rules. False, too, when it is time to write all anew."""
        if asyncio.get_running_loop().time() - self._whole > FULL:
            return False
        if (now := self._seen.ask()) == self._seen.last:
            return True
        for table in self._tables:
            if (await _present(table.family)).chains != table.names().chains:
                return False
            # A table that was flushed keeps its chains, and none of their rules.
            if not await _listed("rule", "--terse", "list", "chain", table.family.name, NAME, BASES[0][0]):
                return False
        self._seen.last = now
        return True

    async def remove(self) -> None:
        await run("nft", "-f", "-", stdin="".join(Table(each, self._settings).removal() for each in BOTH))
        self.forget()


async def _send(text: str, writes: Writes) -> None:
    if text:
        await run("nft", "-f", "-", stdin=text)
        writes.count += 1


async def _present(family: Family) -> Present:
    chains = await _listed("chain", "list", "chains", family.name)
    names = frozenset(one["name"] for one in chains if one["table"] == NAME)
    if not names:
        return Present()
    sets = await _listed("set", "--terse", "list", "sets", family.name)
    return Present(names, frozenset(one["name"] for one in sets if one["table"] == NAME))


async def _listed(kind: str, *question: str) -> list[dict[str, Any]]:
    """What ``nft`` lists of a kind of objects."""
    told = json.loads(await run("nft", "--json", *question))
    return [one[kind] for one in told["nftables"] if kind in one]
