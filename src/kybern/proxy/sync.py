"""Keep the kernel's rules as Services and EndpointSlices ask: observe, render, apply.

Watches fill a state; any change of it wakes one loop, which makes the rules of the services that changed (pure, well under
a millisecond each) and sends what differs. Nothing is applied before all lists are in, so that a restart of the daemon
never takes rules away. When the API server cannot be reached, the rules stay as they are.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from kybern.client.rest import Client
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.netfilter.programs import CannotApply, Missing
from kybern.proxy import metrics
from kybern.proxy.backend import Backend, Removable
from kybern.proxy.conntrack import Conntrack
from kybern.proxy.health_ports import HealthPorts
from kybern.proxy.model import ServicePort
from kybern.proxy.ruleset import Key
from kybern.proxy.state import State, Watched
from kybern.proxy.stranded import POLICIES, Stranded

LOG = logging.getLogger(__name__)
RETRY = 5.0  # seconds until what failed is tried again


async def follow(client: Client, kind: type[Watched], state: State, field_selector: str = "") -> None:
    """Keep the state as the API server has it."""
    async for event in watch(client, kind, field_selector=field_selector):
        match event:
            case Synced(items):
                state.sync(kind, items)
            case Added(item):
                state.put(item, None)
            case Modified(item, old):
                state.put(item, old)
            case Deleted(item):
                state.drop(item)


@dataclass(slots=True)
class Syncer:
    """The one loop. ``healthy`` is when the rules were last right, in the loop's time; 0 before the first time.

    ``updated`` is the same by the clock, in seconds since 1970. ``others`` are what a proxy of before may have left in
    another mode: it goes once the rules are right here. ``moved`` are the ports of UDP that changed since the kernel's flows
    were last looked at, as they were and as they are.
    """

    state: State
    kernel: Backend
    others: Sequence[Removable]
    flows: Conntrack
    asked: HealthPorts
    period: float
    min_period: float
    on_first: Callable[[], None]
    healthy: float = 0.0
    updated: float = 0.0
    since: float = field(default_factory=time.time)
    ports: dict[Key, tuple[ServicePort, ...]] = field(default_factory=dict)
    stranded: Stranded = field(default_factory=Stranded)
    moved: list[ServicePort] = field(default_factory=list)

    async def run(self) -> None:
        """For ever: wait for a change (or the period), then apply; never more often than ``min_period``."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            began = loop.time()
            if began - looked >= self.period:
                await self._check()
                looked = began
            retry = not await self._apply()
            rest = self.min_period - (loop.time() - began)
            if rest > 0:
                await asyncio.sleep(rest)  # the least time between two changes, as upstream's minSyncPeriod
            await self._wait(RETRY if retry else self.period)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.state.changed.wait()

    async def _check(self) -> None:
        """Others may have flushed our chains: look, and write all again if so."""
        try:
            if self.kernel.is_known and not await self.kernel.is_intact():
                self.kernel.forget()
        except CannotApply as problem:
            LOG.warning("%s", problem)
            self.kernel.forget()

    async def _apply(self) -> bool:
        if not self.state.is_complete:
            self.state.changed.clear()
            return True
        self._render()
        try:
            with metrics.sync_time(self.state.families, whole=not self.kernel.is_known):
                await self.kernel.apply()
        except CannotApply as problem:
            LOG.error("%s; trying again in %.0f s", problem, RETRY)  # noqa: TRY400  # the message says it all
            return False
        self._tell_time()
        self._tell_stranded()
        await self._forget_flows()
        await self.asked.serve(self.ports)
        await self._clear_others()
        if not self.healthy:
            self.on_first()
        self.healthy, self.updated = asyncio.get_running_loop().time(), time.time()
        return True

    async def _forget_flows(self) -> None:
        """Only after the rules are right: a flow that begins anew follows them."""
        if not self.moved:
            return
        now = (port for ports in self.ports.values() for port in ports)
        if await self.flows.forget_stale(now, self.moved):
            self.moved.clear()

    def _tell_time(self) -> None:
        now, (triggered, self.state.triggered) = time.time(), (self.state.triggered, [])
        # What happened before this proxy ran says nothing of how fast it is.
        metrics.synced(self.state.families, (now - when for when in triggered if self.since <= when <= now))

    def _tell_stranded(self) -> None:
        for family in self.state.families:
            for policy in POLICIES:
                found = self.stranded.counts[family, policy]
                metrics.NO_LOCAL_ENDPOINTS.labels(family, policy).set(found)

    async def _clear_others(self) -> None:
        """A proxy of before may have run in another mode. Tried after each change until it is done."""
        left = []
        for other in self.others:
            try:
                await other.remove()
            except Missing as problem:
                LOG.info("%s; so there are no rules of that mode", problem)
            except CannotApply as problem:
                LOG.warning("rules of another mode may still be there: %s", problem)
                left.append(other)
        self.others = left

    def _render(self) -> None:
        """Make the rules of the services that changed."""
        if self.kernel.settle(self.state.addresses):
            for service, ports in self.ports.items():
                self.kernel.put(service, ports)
        for service in self.state.take():
            ports, before = self.state.ports(service), self.ports.get(service, ())
            if ports == before:
                continue
            self.kernel.put(service, ports)
            self.stranded.move(before, ports)
            self.moved += [port for port in (*before, *ports) if port.protocol == "UDP"]
            if ports:
                self.ports[service] = ports
            else:
                del self.ports[service]
