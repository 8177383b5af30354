"""The drivers that are there, and what the API server is told of one that is not.

What holds: devices are offered only while their driver can prepare them. The slices of this node go when the kubelet starts,
since no driver is known then, and half a minute after a driver went: one that is only being updated keeps its own.
"""

import asyncio
import logging
from collections.abc import Iterable

from kybern.api.resource_v1 import ResourceSlice
from kybern.client.verbs import Verbs
from kybern.kubelet.dra.claims import CannotPrepare
from kybern.kubelet.dra.driver import VERSIONS, Driver, version
from kybern.kubelet.dra.watching import Watching
from kybern.machinery.errors import ApiError, NotFound

log = logging.getLogger(__name__)

# Upstream's defaultWipingDelay.
_DELAY = 30.0
_AGAIN = 5.0


class Drivers:
    """``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, node: str, client: Verbs | None, delay: float = _DELAY) -> None:
        self._node = node
        self._client = client
        self._delay = delay
        self._known: dict[str, Driver] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._wiping: dict[str, asyncio.Task[None]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self.watching = Watching()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for driver in self._known.values():
                self._follow(driver)
            tasks.create_task(self.watching.run())
            await self._wipe("")
            await asyncio.Event().wait()

    def find(self, name: str) -> Driver:
        """Raises CannotPrepare."""
        if name not in self._known:
            raise CannotPrepare(f"DRA driver {name} is not registered")
        return self._known[name]

    def add(self, name: str, endpoint: str, offered: Iterable[str]) -> None:
        """A driver registered. Raises CannotPrepare for one that cannot be spoken with."""
        versions = tuple(offered)
        spoken = version(versions)
        if not spoken:
            raise CannotPrepare(
                f"none of the services supported by DRA driver {name} ([{' '.join(versions)}]) is one of "
                f"{', '.join(f'{one}.DRAPlugin' for one in VERSIONS)}"
            )
        wiping = self._wiping.pop(name, None)
        if wiping is not None:
            wiping.cancel()
        self._known[name] = Driver(name, endpoint, spoken)
        self._follow(self._known[name])
        log.info("Registered DRA driver %s at %s (%s)", name, endpoint, spoken)

    def remove(self, name: str) -> None:
        """A driver is gone."""
        self._unfollow(name)
        if self._known.pop(name, None) is not None and self._tasks is not None:
            log.info("DRA driver %s is gone", name)
            self._wiping[name] = self._tasks.create_task(self._wipe_later(name))

    def _follow(self, driver: Driver) -> None:
        """Hear of the health of a driver's devices."""
        self._unfollow(driver.name)
        if self._tasks is not None:
            self._following[driver.name] = self._tasks.create_task(self.watching.follow(driver))

    def _unfollow(self, name: str) -> None:
        before = self._following.pop(name, None)
        if before is not None:
            before.cancel()

    async def _wipe_later(self, name: str) -> None:
        await asyncio.sleep(self._delay)
        await self._wipe(name)

    async def _wipe(self, name: str) -> None:
        """Remove the slices of one driver, or of all that are not there, until the API server has done it."""
        while self._client is not None:
            try:
                # A node may ask for its own slices only.
                found, _at = await self._client.list(
                    ResourceSlice, field_selector=f"spec.nodeName={self._node}"
                )
                for one in found:
                    if one.spec.driver not in self._known and name in ("", one.spec.driver):
                        await self._delete(one)
            except NotFound:
                # An API server that does not know devices has no slices.
                return
            except ApiError as problem:
                log.warning("cannot remove the ResourceSlices of drivers that are gone: %s", problem)
                await asyncio.sleep(_AGAIN)
            else:
                return

    async def _delete(self, one: ResourceSlice) -> None:
        assert self._client is not None
        try:
            await self._client.delete(one)
        except NotFound:
            return
        log.info("Removed ResourceSlice %s: its driver %s is gone", one.metadata.name, one.spec.driver)
