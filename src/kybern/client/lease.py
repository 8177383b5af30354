"""Leader election by a Lease: one holder at a time, another within seconds when it is gone.

    Following ──lease is free, or not renewed for its duration──> Leading ──renewed every 2 s──> Leading
        ^                                                            │
        └── process ends, or is told so <── not renewed for 10 s ────┘

What holds: who could not renew for ``renew_deadline`` stops leading before ``lease_duration`` is over, so that two never
lead at once (clocks of machines are never compared: each measures with its own how long the record did not change).
Who ends in peace gives the lease back, and the next one need not wait.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from kybern.api.coordination_v1 import Lease, LeaseSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.client.verbs import Verbs
from kybern.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from kybern.machinery.struct import replace

log = logging.getLogger(__name__)


class Lost(Exception):
    """The lease could not be renewed in time; whoever led must stop."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, as upstream's --leader-elect-* flags."""

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0


def micro(when: datetime) -> datetime:
    """A MicroTime always shows six digits; a Go server refuses one without a fraction."""
    return when if when.microsecond else when.replace(microsecond=1)


class Election:
    """One candidate for one lease."""

    def __init__(
        self,
        client: Verbs,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        timing: Timing | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._timing = timing or Timing()
        self.identity = identity
        self.holder = ""
        self._seen = LeaseSpec()
        self._seen_at = 0.0
        self._lease: Lease | None = None

    @property
    def leading(self) -> bool:
        return self.holder == self.identity

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then lead for as long as it is held. Raises Lost when it is not held any more."""
        await self.acquire()
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew())
                await lead()
                renewing.cancel()
        except* Lost as group:
            raise group.exceptions[0] from None
        finally:
            await self._release()

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        while not await self._try():  # noqa: ASYNC110  # what is waited for happens on another machine
            await asyncio.sleep(self._timing.retry_period)
        log.info("Became leader of %s/%s as %s", self._namespace, self._name, self.identity)

    async def _renew(self) -> None:
        clock, deadline = asyncio.get_running_loop().time, self._timing.renew_deadline
        renewed = clock()
        while True:
            await asyncio.sleep(max(0.0, min(self._timing.retry_period, renewed + deadline - clock())))
            began = clock()
            # A last attempt that takes long would lead on beyond the deadline, perhaps beside the next leader.
            if await self._try(renewed + deadline - began):
                # Since before it was asked for: when the server had it, nobody here knows.
                renewed = began
            elif not self.leading or clock() >= renewed + deadline:
                raise Lost(f"leader election lost: {self._namespace}/{self._name} could not be renewed")

    async def _try(self, left: float | None = None) -> bool:
        """One attempt, of ``left`` seconds at most, to take or to renew; what fails is tried again: nothing is raised."""
        # Less than the time in which the lease must be renewed, or one slow answer would lose it.
        most = self._timing.renew_deadline / 2
        try:
            async with asyncio.timeout(most if left is None else min(most, left)):
                return await self._attempt()
        except (Conflict, AlreadyExists):
            self._lease = None
            return False
        except (ApiError, TimeoutError) as problem:
            self._lease = None
            log.warning("cannot hold lease %s/%s: %s", self._namespace, self._name, problem)
            return False

    async def _attempt(self) -> bool:
        now = micro(datetime.now(UTC))
        duration = int(self._timing.lease_duration)
        lease = self._lease
        if lease is None:
            try:
                lease = await self._client.get(Lease, self._name, self._namespace)
            except NotFound:
                spec = LeaseSpec(
                    holder_identity=self.identity, lease_duration_seconds=duration, acquire_time=now, renew_time=now,
                    lease_transitions=0,
                )  # fmt: skip
                made = Lease(metadata=ObjectMeta(name=self._name, namespace=self._namespace), spec=spec)
                self._observe(await self._client.create(made))
                return True
            self._observe(lease)
        old = lease.spec
        mine = old.holder_identity == self.identity
        if not mine and old.holder_identity and not self._expired(old):
            self._lease = None
            return False
        spec = replace(old, holder_identity=self.identity, lease_duration_seconds=duration, renew_time=now)
        if not mine:
            transitions = (old.lease_transitions or 0) + 1
            spec = replace(spec, acquire_time=now, lease_transitions=transitions)
        # Upstream's roles let candidates update their lease, not patch it.
        self._observe(await self._client.update(replace(lease, spec=spec)))
        return True

    def _observe(self, lease: Lease) -> None:
        if lease.spec != self._seen:
            self._seen, self._seen_at = lease.spec, asyncio.get_running_loop().time()
        if lease.spec.holder_identity != self.holder:
            log.info(
                "The leader of %s/%s is %s",
                self._namespace,
                self._name,
                lease.spec.holder_identity or "nobody",
            )
        self.holder = lease.spec.holder_identity
        self._lease = lease

    def _expired(self, spec: LeaseSpec) -> bool:
        return asyncio.get_running_loop().time() > self._seen_at + float(spec.lease_duration_seconds or 0)

    async def _release(self) -> None:
        """Let another one lead at once; when that fails, the lease runs out by itself."""
        if not self.leading:
            return
        try:
            async with asyncio.timeout(2.0):
                # Not known after an attempt without an answer, which may have renewed it all the same.
                lease = self._lease or await self._client.get(Lease, self._name, self._namespace)
                if lease.spec.holder_identity == self.identity:
                    now = micro(datetime.now(UTC))
                    freed = replace(lease.spec, holder_identity="", lease_duration_seconds=1, renew_time=now)
                    await self._client.update(replace(lease, spec=freed))
        except (ApiError, TimeoutError) as problem:
            log.info("cannot give lease %s/%s back: %s", self._namespace, self._name, problem)
        self.holder = ""
