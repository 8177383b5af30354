"""The kernel's tables through iptables-save and iptables-restore, and those of IPv6 through ip6tables' beside them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from kybern.netfilter import accounting
from kybern.netfilter.generation import Seen, Writes
from kybern.netfilter.programs import CannotApply
from kybern.proxy import metrics, tables, tunables
from kybern.proxy.families import BOTH, IPV4, Family, version_of
from kybern.proxy.model import ServicePort
from kybern.proxy.restore import missing_jumps, our_chains, steps, touched, transactions, written
from kybern.proxy.rules import FIXED, INVALID_DROPPED, JUMPS, LOCALHOST_ACCEPTED, Settings
from kybern.proxy.ruleset import Key, Ruleset

LOG = logging.getLogger(__name__)
COUNTERS = (INVALID_DROPPED, LOCALHOST_ACCEPTED)
# Services in one run when all are written: the program of nf_tables takes time by their square (ADR 0029).
AT_ONCE = 100
# Seconds until the names of all chains are looked at, whatever the kernel says: of 10,000 services that takes a second.
FULL = 3600.0


class Iptables:
    """What is in the kernel, brought to what is wanted with one iptables-restore a change and family.

    A change sends only the chains that were touched. ``forget`` makes the next call look at the kernel again and write all:
    at the start, after a failure, and now and then, because others may have flushed our chains.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._at_once: dict[int, int] = {}
        self._listed = 0.0
        self._seen = Seen()
        self._parts = self._made()

    def _made(self) -> list["_Part"]:
        served = (each for each in BOTH if self._settings.pod_network(each.version))
        return [
            _Part(each, Ruleset(self._settings, each.version), self._at_once.get(each.version, AT_ONCE))
            for each in served
        ]

    async def prepare(self) -> None:
        """What the rules need of the kernel beside its tables. What cannot be had is told, and done without."""
        settings = self._settings
        if settings.serves_localhost:
            try:
                tunables.set_all({"net/ipv4/conf/all/route_localnet": "1"})
            except CannotApply as problem:
                LOG.warning("node ports will not answer at 127.0.0.1: %s", problem)
                settings = replace(settings, localhost_node_ports=False)
        self._settings = replace(settings, counters=await _counters())
        for family in BOTH:
            try:
                self._at_once[family.version] = 0 if await tables.is_legacy(family) else AT_ONCE
            except CannotApply as problem:
                LOG.debug("cannot tell which %s this is: %s", family.restore, problem)
        self._parts = self._made()

    @property
    def is_known(self) -> bool:
        return all(part.is_known for part in self._parts)

    def settle(self, addresses: tuple[str, ...]) -> bool:
        if addresses == self._settings.node_addresses:
            return False
        self._settings = replace(self._settings, node_addresses=addresses)
        self._parts = self._made()
        return True

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        for part in self._parts:
            version = part.family.version
            part.rules.put(service, [port for port in ports if version_of(port.cluster_ip) == version])

    def forget(self) -> None:
        for part in self._parts:
            part.is_known = False

    @property
    def _is_counted(self) -> bool:
        """Whether the kernel counts changes of these tables: it does not for the old ones."""
        return not any(part.is_legacy for part in self._parts)

    async def apply(self) -> int:
        if not self.is_known:
            await tables.clear_unserved(part.family.version for part in self._parts)
        if not self._is_counted:
            return await self._write(Writes())
        # Where one family is written anew, what became of the other one's rules is still to be looked at.
        with self._seen.writing(whole=not any(part.is_known for part in self._parts)) as writes:
            return await self._write(writes)

    async def _write(self, writes: Writes) -> int:
        whole = not any(part.is_known for part in self._parts)
        lines = sum([await part.apply(writes) for part in self._parts])
        if whole:
            self._listed = asyncio.get_running_loop().time()
        return lines

    async def is_intact(self) -> bool:
        """Whether our chains and jumps are all still there: who takes rules out of the middle of our chains must expect it.

        Nothing is looked at while nobody changed any rule; then one rule of each chain that services share, and now and then
        the names of all chains.
        """
        now = asyncio.get_running_loop().time()
        names = now - self._listed > FULL
        changes = self._seen.ask() if self._is_counted else None
        if changes is not None and changes == self._seen.last and not names:
            return True
        if not all([await part.is_intact(names=names) for part in self._parts]):
            return False
        self._seen.last, self._listed = changes, now if names else self._listed
        return True

    async def remove(self) -> None:
        for family in BOTH:
            await tables.clear(family)
        for counter in COUNTERS:
            try:
                accounting.remove(counter)
            except OSError as problem:  # somebody else's rule counts into it, or this kernel has none
                LOG.debug("cannot take away the counter %s: %s", counter, problem)
        self.forget()


async def _counters() -> frozenset[str]:
    """Those of COUNTERS that rules may count into: the kernel and the program have to know them."""
    try:
        for counter in COUNTERS:
            accounting.ensure(counter)
        await tables.check(IPV4, f"-m nfacct --nfacct-name {COUNTERS[0]} -j DROP")
    except (OSError, CannotApply) as problem:
        LOG.info("some packets are not counted, since the kernel has no counters for it: %s", problem)
        return frozenset()
    return frozenset(COUNTERS)


class _Part:
    """The tables of one family. One that failed is written anew by itself: the other one's rules are as they should be."""

    def __init__(self, family: Family, rules: Ruleset, at_once: int) -> None:
        self.family, self.rules, self.is_known, self._at_once = family, rules, False, at_once

    @property
    def is_legacy(self) -> bool:
        return not self._at_once

    async def apply(self, writes: Writes) -> int:
        rules, known = self.rules, self.is_known
        chains, self.is_known = rules.take(), False
        lines, counts = 0, Counter[str]()
        saved = "" if known else await tables.saved(self.family)
        try:
            for text in [touched(rules, chains)] if known else steps(rules, saved, self._at_once):
                await tables.write(self.family, text)
                writes.count += transactions(text)
                lines += text.count("\n")
                counts.update(written(text))
        except CannotApply:
            metrics.IPTABLES_FAILURES.labels(self.family.title).inc()
            if known:
                metrics.IPTABLES_PARTIAL_FAILURES.labels(self.family.title).inc()
            raise
        self.is_known = True
        for table in FIXED:
            metrics.IPTABLES_RULES.labels(self.family.title, table).set(rules.counts[table])
            metrics.IPTABLES_WRITTEN.labels(self.family.title, table).set(counts[table])
        LOG.debug("sent %d lines to %s (all chains: %s)", lines, self.family.restore, not known)
        return lines

    async def is_intact(self, *, names: bool) -> bool:
        if names or self.is_legacy:
            saved = await tables.saved(self.family)
            if our_chains(saved) != self.rules.names() or missing_jumps(saved):
                return False
        return self.is_legacy or await tables.holds(self.family, (*JUMPS, *self.rules.signs()))
