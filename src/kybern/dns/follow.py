"""Keep the zone as Services, EndpointSlices and Namespaces ask: three watches, and one service at a time.

What holds: nothing is in the zone before all three first lists are in, since half a list would deny names that exist;
until then ``complete`` is false and names of the cluster are answered with SERVFAIL, which resolvers do not remember. When
the API server cannot be reached, the zone stays as it is.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kybern.api.core_v1 import Namespace, Service
from kybern.api.discovery_v1 import EndpointSlice
from kybern.client.cache import Cache
from kybern.client.rest import Client
from kybern.client.watch import Added, Change, Deleted, Modified, Synced
from kybern.dns.metrics import PROGRAMMED
from kybern.dns.records import owner_of, records
from kybern.dns.zone import Zone

KINDS = (Service, EndpointSlice, Namespace)
BY_SERVICE = "service"
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"

type Key = tuple[str, str]


def _index(part: EndpointSlice) -> tuple[str, ...]:
    return (f"{part.metadata.namespace}/{owner_of(part)}",)


@dataclass(slots=True)
class Names:
    """``complete`` once the zone has all names."""

    zone: Zone
    cache: Cache = field(default_factory=Cache)
    complete: bool = False

    def __post_init__(self) -> None:
        for kind in KINDS:
            self.cache.add(kind)
        self.cache.add_index(EndpointSlice, BY_SERVICE, _index)

    async def follow(self, client: Client) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind in KINDS:
                tasks.create_task(self.cache.feed(client, kind, tell=self.tell))

    def tell(self, change: Synced[Any] | Change[Any]) -> None:
        """Hear of a change that is in the cache already."""
        if self.complete:
            self._take(change)
        elif all(self.cache.has_synced(kind) for kind in KINDS):
            self.zone.set_namespaces(one.metadata.name for one in self.cache.list(Namespace))
            for service in self.cache.list(Service):
                self._update((service.metadata.namespace, service.metadata.name))
            self.complete = True

    def _take(self, change: Synced[Any] | Change[Any]) -> None:
        match change:
            case Added(Namespace() as one) | Deleted(Namespace() as one):
                self.zone.set_namespace(one.metadata.name, exists=isinstance(change, Added))
            case Added(EndpointSlice() as one) | Deleted(EndpointSlice() as one):
                self._update((one.metadata.namespace, owner_of(one)))
                if isinstance(change, Added):
                    self._tell_time(one, "")
            case Modified(EndpointSlice() as one, old):
                for owner in {owner_of(one), owner_of(old)}:
                    self._update((one.metadata.namespace, owner))
                self._tell_time(one, old.metadata.annotations.get(TRIGGERED, ""))
            case Added(Service() as one) | Modified(Service() as one, _) | Deleted(Service() as one):
                self._update((one.metadata.namespace, one.metadata.name))

    def _tell_time(self, part: EndpointSlice, known: str) -> None:
        """How long ago it happened, what a slice tells of, unless it was ``known``. As CoreDNS: of headless ones alone."""
        triggered = part.metadata.annotations.get(TRIGGERED, "")
        service = self.cache.get(Service, part.metadata.namespace, owner_of(part))
        if triggered in ("", known) or service is None or service.spec.cluster_ip != "None":
            return
        if service.spec.selector:
            try:
                happened = datetime.fromisoformat(triggered).timestamp()
            except ValueError:
                return
            PROGRAMMED.labels("headless_with_selector").observe(max(time.time() - happened, 0.0))

    def _update(self, key: Key) -> None:
        service = self.cache.get(Service, *key)
        slices = self.cache.index(EndpointSlice, BY_SERVICE, "/".join(key))
        self.zone.put(key, records(service, slices, self.zone.domain) if service else frozenset())
