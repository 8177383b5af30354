"""Which API servers there are: a lease of kube-system for each (KEP-1965), renewed every ten seconds, gone after an hour.

A lease is named for its server's host, so that a server that is started again takes the lease that it had, under another
holder. Each server looks every hour for those of hosts that are no more.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kybern.apiserver.local import Local
from kybern.machinery import times
from kybern.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from kybern.machinery.kind import Raw
from kybern.storage.cache import Stale
from kybern.storage.store import Unavailable

log = logging.getLogger(__name__)

GROUP, LEASES, NAMESPACE = "coordination.k8s.io", "leases", "kube-system"
LABEL, SERVER = "apiserver.kubernetes.io/identity", "kube-apiserver"
HOST = "kubernetes.io/hostname"
SECONDS = 3600
_EVERY, _LOOK = 10.0, 3600.0


def name_of(host: str) -> str:
    """What upstream's server of this host is called: a hash of both names, each after its length."""
    parts = b"".join(struct.pack(">H", len(part)) + part for part in (host.encode(), SERVER.encode()))
    hashed = hashlib.sha256(parts).digest()[:16]
    return f"apiserver-{base64.b32encode(hashed).decode().rstrip('=').lower()}"


def renewed(found: Raw | None, host: str, holder: str, now: datetime) -> Raw:
    """The lease as it should be from now on. Pure."""
    found = found or {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Lease",
        "metadata": {"namespace": NAMESPACE, "name": name_of(host)},
    }
    metadata, spec = found["metadata"], found.get("spec") or {}
    labels = {**(metadata.get("labels") or {}), LABEL: SERVER, HOST: host}
    wanted = {
        "holderIdentity": holder,
        "leaseDurationSeconds": SECONDS,
        "renewTime": times.form_micro(now),
    }
    return {**found, "metadata": {**metadata, "labels": labels}, "spec": {**spec, **wanted}}


def is_over(lease: Raw, now: datetime) -> bool:
    """Whether a lease of some server ran out. Pure."""
    if (lease["metadata"].get("labels") or {}).get(LABEL) != SERVER:
        return False
    spec = lease.get("spec") or {}
    at, seconds = spec.get("renewTime"), spec.get("leaseDurationSeconds")
    return not at or seconds is None or times.parse(at) + timedelta(seconds=seconds) < now


@dataclass(slots=True)
class OwnLease:
    """That of this server. ``clock`` gives seconds since 1970."""

    local: Local
    clock: Callable[[], float]
    host: str = field(default_factory=socket.gethostname)
    holder: str = ""

    def __post_init__(self) -> None:
        self.holder = self.holder or f"{name_of(self.host)}_{uuid.uuid4()}"

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.renew, _EVERY))
            tasks.create_task(self._repeat(self.sweep, _LOOK))

    async def _repeat(self, step: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            try:
                await step()
            except (ApiError, Unavailable, Stale) as problem:
                log.warning("Cannot keep the leases of API servers: %s", problem)
            await asyncio.sleep(every)

    async def renew(self) -> None:
        """Say that this server is there."""
        found = await self.local.get(GROUP, LEASES, NAMESPACE, name_of(self.host))
        wanted = renewed(found, self.host, self.holder, self._now())
        # Who wrote it in between says the same of this host; the next turn says it anew.
        with contextlib.suppress(AlreadyExists, Conflict, NotFound):
            if found is None:
                await self.local.create(GROUP, LEASES, wanted)
            else:
                await self.local.update(GROUP, LEASES, wanted)

    async def sweep(self) -> None:
        """Remove those of servers that are gone."""
        for lease in await self.local.engine.lookup.list(GROUP, LEASES, NAMESPACE):
            name = lease["metadata"]["name"]
            if not is_over(lease, self._now()):
                continue
            # The cache may be behind a server that has come back.
            newest = await self.local.get(GROUP, LEASES, NAMESPACE, name)
            if newest is not None and is_over(newest, self._now()):
                log.info("Removing the lease %s of an API server that is gone", name)
                with contextlib.suppress(NotFound):
                    await self.local.delete(GROUP, LEASES, NAMESPACE, name)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)
