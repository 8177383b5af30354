"""Keep the kernel's rules as Services and EndpointSlices ask: observe, render, apply.

Two watches fill a state; any change of it wakes one loop, which renders everything (pure, a few milliseconds) and sends
what differs. Nothing is applied before both lists are in, so that a restart of the daemon never takes rules away. When
the API server cannot be reached, the rules stay as they are.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

from kybern.api.core_v1 import Service
from kybern.api.discovery_v1 import EndpointSlice
from kybern.client.rest import Client
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.machinery.struct import Object
from kybern.proxy.iptables import CannotApply, Iptables
from kybern.proxy.model import service_ports
from kybern.proxy.rules import Settings, render

LOG = logging.getLogger(__name__)
RETRY = 5.0  # seconds until what failed is tried again

SYNC_SECONDS = Histogram("kubeproxy_sync_proxy_rules_duration_seconds", "Time of one change of the rules")
SYNC_FAILURES = Counter(
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "Changes that iptables refused"
)
SYNC_LAST = Gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When the rules were last as they should be"
)
LINES = Counter("kubeproxy_sync_proxy_rules_iptables_lines_total", "Lines sent to iptables-restore")


@dataclass(slots=True)
class State:
    """What the watches have seen. ``synced`` counts complete lists, of which two are needed."""

    services: dict[tuple[str, str], Service] = field(default_factory=dict)
    slices: dict[tuple[str, str], EndpointSlice] = field(default_factory=dict)
    synced: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_complete(self) -> bool:
        return self.synced == 2


async def follow[T: Service | EndpointSlice](
    client: Client, kind: type[T], known: dict[tuple[str, str], T], state: State
) -> None:
    """Keep ``known`` as the API server has it, and wake the loop at each change that can matter."""

    def key(one: T) -> tuple[str, str]:
        return one.metadata.namespace, one.metadata.name

    async for event in watch(client, kind):
        match event:
            case Synced(items):
                known.update({key(item): item for item in items})
                state.synced += 1
            case Added(item):
                known[key(item)] = item
            case Modified(item, old):
                known[key(item)] = item
                if _same(item, old):
                    continue
            case Deleted(item):
                known.pop(key(item), None)
        state.changed.set()


def _same(new: Object, old: Object) -> bool:
    """Whether only metadata that no rule depends on has changed."""
    fields = (name for name in new.__struct_fields__ if name != "metadata")
    new_meta, old_meta = getattr(new, "metadata"), getattr(old, "metadata")  # noqa: B009  # every Object has metadata
    return new_meta.labels == old_meta.labels and all(
        getattr(new, name) == getattr(old, name) for name in fields
    )


@dataclass(slots=True)
class Syncer:
    """The one loop. ``healthy`` is when the rules were last right, in the loop's time; 0 before the first time."""

    state: State
    kernel: Iptables
    settings: Settings
    node: str
    period: float
    min_period: float
    on_first: Callable[[], None]
    healthy: float = 0.0

    async def run(self) -> None:
        """For ever: wait for a change (or the period), then apply; never more often than ``min_period``."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            retry = not await self._apply()
            rest = self.min_period - (loop.time() - began)
            if rest > 0:
                await asyncio.sleep(rest)  # the least time between two changes, as upstream's minSyncPeriod
            await self._wait(RETRY if retry else self.period)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.state.changed.wait()
        except TimeoutError:
            await self._check()

    async def _check(self) -> None:
        """Others may have flushed our chains: look, and write all again if so."""
        try:
            if not await self.kernel.is_intact():
                self.kernel.forget()
        except CannotApply as problem:
            LOG.warning("%s", problem)
            self.kernel.forget()

    async def _apply(self) -> bool:
        self.state.changed.clear()
        if not self.state.is_complete:
            return True
        ports = service_ports(self.state.services.values(), self.state.slices.values(), self.node)
        try:
            with SYNC_SECONDS.time():
                lines = await self.kernel.apply(render(ports, self.settings))
        except CannotApply as problem:
            SYNC_FAILURES.inc()
            LOG.error("%s; trying again in %.0f s", problem, RETRY)  # noqa: TRY400  # the message says it all
            return False
        LINES.inc(lines)
        SYNC_LAST.set_to_current_time()
        if not self.healthy:
            self.on_first()
        self.healthy = asyncio.get_running_loop().time()
        return True
