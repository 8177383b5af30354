"""The kernel's tables through iptables-save and iptables-restore."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from kybern.netfilter.programs import run
from kybern.proxy import metrics
from kybern.proxy.model import ServicePort
from kybern.proxy.restore import everything, missing_jumps, our_chains, removal, touched
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Key, Ruleset

LOG = logging.getLogger(__name__)


class Iptables:
    """What is in the kernel, brought to what is wanted with one iptables-restore a change.

    A change sends only the chains that were touched. ``forget`` makes the next call look at the kernel again and write all:
    at the start, after a failure, and now and then, because others may have flushed our chains.
    """

    failures = metrics.IPTABLES_FAILURES

    def __init__(self, settings: Settings) -> None:
        self.is_known = False
        self._settings = settings
        self._rules = Ruleset(settings)

    def settle(self, addresses: tuple[str, ...]) -> bool:
        if addresses == self._settings.node_addresses:
            return False
        self._settings = replace(self._settings, node_addresses=addresses)
        self._rules = Ruleset(self._settings)
        self.forget()
        return True

    def put(self, service: Key, ports: Sequence[ServicePort]) -> None:
        self._rules.put(service, [port for port in ports if ":" not in port.cluster_ip])

    def forget(self) -> None:
        self.is_known = False

    async def apply(self) -> int:
        rules = self._rules
        chains, known = rules.take(), self.is_known
        text = touched(rules, chains) if known else everything(rules.tables(), await run("iptables-save"))
        self.is_known = False
        if text:
            await run("iptables-restore", "--wait=10", "--noflush", stdin=text)
        self.is_known = True
        LOG.debug("sent %d lines to iptables-restore (all chains: %s)", text.count("\n"), not known)
        return text.count("\n")

    async def is_intact(self) -> bool:
        """Whether our chains and jumps are all still there. Looks at names only: who edits our chains must expect it."""
        saved = await run("iptables-save")
        return our_chains(saved) == self._rules.names() and not missing_jumps(saved)

    async def remove(self) -> None:
        saved = await run("iptables-save")
        text = removal(saved)
        if text:
            await run("iptables-restore", "--wait=10", "--noflush", stdin=text)
        self.forget()
