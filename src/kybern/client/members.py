"""Keep the EndpointSlice of a Service whose daemons run on machines: those that answer, and no other.

Every daemon renews a Lease of its own, and every daemon writes the same slice from the leases that live. So the slice is
right as long as one daemon and the API server are there; none of them is special, and a machine that dies is out of the
slice within DURATION, long before its node is called not ready.

What holds: clocks of machines are never compared; each daemon measures with its own how long a lease did not change. A
lease that it sees for the first time counts as the slice has it, so that a restart brings nobody back who is gone. After
the API server was away all leases get their time anew. The slice is never emptied.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kybern.api.coordination_v1 import Lease, LeaseSpec
from kybern.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.lease import micro
from kybern.client.verbs import Verbs
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.struct import replace

LOG = logging.getLogger(__name__)
DURATION = 10.0  # seconds for which a lease that is not renewed counts
PERIOD = 2.0
DRAIN = 2.0
SERVICE_NAME = "kubernetes.io/service-name"
MEMBER = "kybern.io/member-of"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease as it was last seen to change, in this daemon's own time; ``moved`` tells that it did since the start."""

    renewed: datetime | None
    at: float
    moved: bool = False


def look(
    before: Mapping[str, Seen], leases: Iterable[Lease], now: float, pause: float, duration: float = DURATION
) -> dict[str, Seen]:
    """What is known of the leases after a look at them; ``pause`` is the time since the last look."""
    found = {}
    for lease in leases:
        name, renewed = lease.metadata.name, lease.spec.renew_time
        known = before.get(name)
        if known is None:
            found[name] = Seen(renewed, now)
        elif known.renewed != renewed:
            found[name] = Seen(renewed, now, moved=True)
        else:
            found[name] = Seen(renewed, now, known.moved) if pause > duration / 2 else known
    return found


def alive(
    seen: Mapping[str, Seen],
    leases: Iterable[Lease],
    listed: frozenset[str],
    now: float,
    duration: float = DURATION,
) -> tuple[Lease, ...]:
    """The leases that count; ``listed`` are the addresses of the slice."""

    def counts(lease: Lease) -> bool:
        known = seen[lease.metadata.name]
        return now - known.at < duration and (known.moved or lease.spec.holder_identity in listed)

    return tuple(sorted(filter(counts, leases), key=lambda lease: lease.metadata.name))


def slice_of(service: str, leases: Sequence[Lease], ports: tuple[EndpointPort, ...]) -> EndpointSlice:
    """The slice that these leases ask for. ``service`` is NAMESPACE/NAME."""
    namespace, _, name = service.partition("/")
    ready = EndpointConditions(ready=True, serving=True, terminating=False)
    family = "IPv6" if leases and ":" in leases[0].spec.holder_identity else "IPv4"
    return EndpointSlice(
        metadata=ObjectMeta(
            namespace=namespace,
            name=f"{name}-machines",
            labels={SERVICE_NAME: name, MANAGED_BY: "kybern.io"},
        ),
        address_type=family,
        endpoints=tuple(
            Endpoint((lease.spec.holder_identity,), ready, node_name=lease.metadata.labels.get("node", ""))
            for lease in leases
        ),
        ports=ports,
    )


@dataclass(slots=True)
class Members:
    """``ready`` tells whether this daemon can answer; until it can, its lease, ``PROGRAM-NODE``, is not renewed."""

    client: Verbs
    program: str
    service: str
    node: str
    address: str
    ports: tuple[EndpointPort, ...]
    ready: Callable[[], bool]
    period: float = PERIOD  # seconds between renewals; a lease counts for five times that
    _seen: dict[str, Seen] = field(default_factory=dict)
    _looked: float = 0.0

    async def run(self) -> None:
        try:
            while True:
                await self._step()
                await asyncio.sleep(self.period)
        finally:
            await self._leave()

    async def _step(self) -> None:
        try:
            async with asyncio.timeout(self._duration / 2):
                if self.ready():
                    await self._renew()
                await self._write(await self._leases())
        except (ApiError, TimeoutError, OSError) as problem:
            LOG.info("cannot keep the endpoints of %s: %s", self.service, problem or "no time")

    @property
    def _namespace(self) -> str:
        return self.service.partition("/")[0]

    @property
    def _duration(self) -> float:
        return self.period * DURATION / PERIOD

    @property
    def _lease(self) -> str:
        return f"{self.program}-{self.node}"

    async def _renew(self) -> None:
        spec = LeaseSpec(
            holder_identity=self.address,
            lease_duration_seconds=int(self._duration),
            renew_time=micro(datetime.now(UTC)),
        )
        try:
            old = await self.client.get(Lease, self._lease, self._namespace)
        except NotFound:
            labels = {MEMBER: self.service.partition("/")[2], "node": self.node}
            metadata = ObjectMeta(namespace=self._namespace, name=self._lease, labels=labels)
            await self.client.create(Lease(metadata=metadata, spec=spec))
        else:
            await self.client.patch(old, replace(old, spec=spec))

    async def _leases(self) -> tuple[Lease, ...]:
        wanted = f"{MEMBER}={self.service.partition('/')[2]}"
        leases, _ = await self.client.list(Lease, self._namespace, label_selector=wanted)
        now = time.monotonic()
        self._seen = look(self._seen, leases, now, now - self._looked, self._duration)
        self._looked = now
        return leases

    async def _write(self, leases: tuple[Lease, ...]) -> None:
        empty = slice_of(self.service, (), self.ports)
        try:
            old = await self.client.get(EndpointSlice, empty.metadata.name, self._namespace)
        except NotFound:
            old = None
        listed = frozenset(address for one in (old.endpoints if old else ()) for address in one.addresses)
        new = slice_of(
            self.service, alive(self._seen, leases, listed, time.monotonic(), self._duration), self.ports
        )
        if not new.endpoints:
            return
        if old is None:
            await self.client.create(new)
        elif (old.endpoints, old.ports) != (new.endpoints, new.ports):
            LOG.info("endpoints of %s: %s", self.service, [one.addresses[0] for one in new.endpoints])
            await self.client.patch(old, replace(old, endpoints=new.endpoints, ports=new.ports))

    async def _leave(self) -> None:
        """Out of the slice before the socket closes, when somebody else is there."""
        try:
            async with asyncio.timeout(DRAIN + 4.0):
                await self.client.delete(Lease, self._lease, self._namespace)
                await self._write(await self._leases())
            # Answer on until the proxies of all nodes have heard of it.
            await asyncio.sleep(DRAIN)
        except (ApiError, TimeoutError, OSError) as problem:
            LOG.info("cannot leave %s: %s", self.service, problem or "no time")
