"""Having a pod's claims prepared, and taken back.

What holds: that a claim may be prepared is on disk before a driver is asked, so that it is taken back whatever happens to
the kubelet; a claim that several pods share is prepared once and taken back after the last; nothing of a pod runs when its
claims are taken back, and the API server hears of the pod's end only after that. A driver that takes long keeps those pods
waiting that use the same claims, and no others.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
from prometheus_client import Histogram

from kybern.api.core_v1 import Container, ContainerStatus, Pod, PodStatus
from kybern.api.resource_v1 import ResourceClaim
from kybern.client.verbs import Verbs
from kybern.kubelet.checkpoint import Checkpoint
from kybern.kubelet.dra import claims, health
from kybern.kubelet.dra.claims import CannotPrepare, Prepared, Use
from kybern.kubelet.dra.drivers import Drivers
from kybern.kubelet.dra.health import Key
from kybern.kubelet.dra.turns import Turns
from kybern.machinery.errors import ApiError
from kybern.machinery.struct import replace as replace_in

log = logging.getLogger(__name__)

FILE = "dra_manager_state"
# Upstream's defaultReconcilePeriod.
_EVERY = 60.0
_SECONDS = Histogram(
    "dra_operations_duration_seconds",
    "Latency histogram in seconds for the duration of handling all ResourceClaims referenced by a pod when the pod starts "
    "or stops. Identified by the name of the operation (PrepareResources or UnprepareResources) and separated by the "
    "success of the operation. The number of failed operations is provided through the histogram's overall count.",
    ["operation_name", "is_error"],
)


class Claims:
    """``client`` None: a node without an API server, whose pods have no claims. ``known``: pods that are not over."""

    def __init__(self, root: Path, client: Verbs | None, drivers: Drivers) -> None:
        self._file = root / FILE
        self._client = client
        self.drivers = drivers
        self._prepared = {one.uid: one for one in _read(self._file)}
        self._turns = Turns()
        self._checkpoint = Checkpoint(self._file, lambda: msgspec.json.encode(tuple(self._prepared.values())))
        self.known: Callable[[str], bool] = lambda _uid: True
        self.told: Callable[[str], None] = lambda _uid: None
        """Hears the uid of a pod whose devices are worth something else."""
        drivers.watching.changed = self._changed

    async def prepare(self, pod: Pod) -> None:
        """Raises CannotPrepare."""
        if claims.has_any(pod):
            await _timed("PrepareResources", self._prepare(pod))

    async def _prepare(self, pod: Pod) -> None:
        found = [await self._claim(pod, use) for use in claims.uses(pod)]
        async with self._turns.of(one.metadata.uid for one in found):
            mine = [self._entry(pod.metadata.uid, claim) for claim in found]
            await self._keep(mine)
            todo = [one for one in mine if not one.done]
            for name in dict.fromkeys(driver for one in todo for driver in one.drivers):
                asked = [one for one in todo if name in one.drivers]
                devices = await self.drivers.find(name).prepare(asked)
                await self._keep(
                    replace(one, devices=(*self._prepared[one.uid].devices, *devices[one.uid]))
                    for one in asked
                )
            await self._keep(replace(self._prepared[one.uid], done=True) for one in todo)

    async def _claim(self, pod: Pod, use: Use) -> ResourceClaim:
        shown = f"ResourceClaim {use.claim} referenced by pod {pod.metadata.name}"
        if self._client is None:
            raise CannotPrepare(f"failed to fetch {shown}: this node has no API server")
        try:
            found = await self._client.get(ResourceClaim, use.claim, pod.metadata.namespace)
        except ApiError as problem:
            raise CannotPrepare(f"failed to fetch {shown}: {problem}") from problem
        claims.check(pod, use, found)
        return found

    def _entry(self, pod: str, claim: ResourceClaim) -> Prepared:
        """A claim with this pod among its users. One that was not prepared to its end is begun anew."""
        meta = claim.metadata
        for one in self._prepared.values():
            if (one.namespace, one.name) == (meta.namespace, meta.name) and one.uid != meta.uid:
                raise CannotPrepare(
                    f"old ResourceClaim with same name {meta.name} and different UID {one.uid} still exists"
                )
        before = self._prepared.get(meta.uid)
        if before is None:
            return Prepared(meta.uid, meta.namespace, meta.name, claims.drivers(claim), (pod,))
        pods = before.pods if pod in before.pods else (*before.pods, pod)
        return replace(before, pods=pods, devices=before.devices if before.done else ())

    def names(self, pod: Pod, container: Container) -> tuple[str, ...]:
        """The CDI names of a container's devices. Raises CannotPrepare."""
        return claims.names(pod, container, self._of(pod)) if claims.has_any(pod) else ()

    def seen(self, pod: Pod, container: Container) -> tuple[Prepared, ...]:
        """The prepared claims of a container. Raises CannotPrepare."""
        return claims.seen(pod, container, self._of(pod)) if claims.has_any(pod) else ()

    def health(self, pod: Pod, status: PodStatus, before: PodStatus) -> PodStatus:
        """A pod's status with the health of the devices of its claims; ``before`` is what was told last."""
        if not pod.spec.resource_claims:
            return status
        try:
            by_alias = self._of(pod)
        except CannotPrepare:
            return status
        last = {one.name: one.allocated_resources_status for one in before.container_statuses}
        specs = {one.name: one for one in pod.spec.containers}
        taken_back = not any(one.done for one in by_alias.values())

        def told(one: ContainerStatus) -> ContainerStatus:
            if taken_back or one.name not in specs:
                mine = health.kept(last.get(one.name, ()))
            else:
                mine = health.statuses(specs[one.name], by_alias, self.drivers.watching.health)
            return replace_in(one, allocated_resources_status=(*one.allocated_resources_status, *mine))

        return replace_in(status, container_statuses=tuple(map(told, status.container_statuses)))

    def _changed(self, devices: frozenset[Key]) -> None:
        """Some devices are worth something else now: the pods of their claims are to tell."""
        for uid in {
            uid
            for one in self._prepared.values()
            if any((device.driver, device.pool, device.device) in devices for device in one.devices)
            for uid in one.pods
        }:
            self.told(uid)

    def _of(self, pod: Pod) -> dict[str, Prepared]:
        """A pod's claims as it calls them; those that are not prepared are empty."""
        space = pod.metadata.namespace
        by_name = {one.name: one for one in self._prepared.values() if one.namespace == space}
        nothing = Prepared("", space, "", (), ())
        return {
            use.alias: by_name.get(use.claim, replace(nothing, name=use.claim)) for use in claims.uses(pod)
        }

    async def unprepare(self, uid: str) -> None:
        """Nothing of a pod runs any more. Raises CannotPrepare; then it is to be tried again."""
        if any(uid in one.pods for one in self._prepared.values()):
            await _timed("UnprepareResources", self._unprepare(uid))

    async def _unprepare(self, uid: str) -> None:
        used = {one.uid for one in self._prepared.values() if uid in one.pods}
        async with self._turns.of(used):
            mine = [one for one in self._prepared.values() if one.uid in used and uid in one.pods]
            shared = [one for one in mine if one.pods != (uid,)]
            await self._keep(
                replace(one, pods=tuple(pod for pod in one.pods if pod != uid)) for one in shared
            )
            last = [one for one in mine if one.pods == (uid,)]
            for name in dict.fromkeys(driver for one in last for driver in one.drivers):
                await self.drivers.find(name).unprepare(one for one in last if name in one.drivers)
            for one in last:
                del self._prepared[one.uid]
            await self._keep(())

    async def run(self) -> None:
        """Claims of pods that went while the kubelet was away, or whose driver was."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.tidy()

    async def tidy(self) -> None:
        for uid in {pod for one in self._prepared.values() for pod in one.pods}:
            if not self.known(uid):
                try:
                    await self.unprepare(uid)
                except CannotPrepare as problem:
                    log.warning("cannot take back the claims of pod %s, which is gone: %s", uid, problem)

    async def _keep(self, changed: Iterable[Prepared]) -> None:
        self._prepared |= {one.uid: one for one in changed}
        try:
            await self._checkpoint.keep()
        except OSError as problem:
            raise CannotPrepare(f"cannot write {self._file}: {problem.strerror}") from problem


async def _timed(name: str, work: Awaitable[None]) -> None:
    since, error = time.monotonic(), True
    try:
        await work
        error = False
    except CannotPrepare as problem:
        verb = "prepare" if name == "PrepareResources" else "unprepare"
        raise CannotPrepare(f"{verb} dynamic resources: {problem}") from problem
    finally:
        _SECONDS.labels(name, str(error).lower()).observe(time.monotonic() - since)


_READS = msgspec.json.Decoder(tuple[Prepared, ...])


def _read(file: Path) -> tuple[Prepared, ...]:
    try:
        return _READS.decode(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as problem:
        log.warning("cannot read %s: %s; taking no claim for prepared", file, problem)
        return ()
