"""Hearing of the health of devices from their drivers, for as long as these are there.

What holds: a driver that does not speak of health is asked once; one whose stream ends is asked again after five seconds
(upstream's period), and its devices are Unknown until then.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from kybern.kubelet.dra.claims import CannotPrepare
from kybern.kubelet.dra.driver import Driver, SaysNothing
from kybern.kubelet.dra.health import Health, Key

log = logging.getLogger(__name__)

_AGAIN = 5.0


class Watching:
    """``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, again: float = _AGAIN) -> None:
        self.health = Health()
        self._again = again
        self._look = asyncio.Event()
        self.changed: Callable[[frozenset[Key]], None] = lambda _devices: None
        """Hears which devices are worth something else."""

    async def follow(self, driver: Driver) -> None:
        while True:
            try:
                async for told in driver.health():
                    self._tell(self.health.update(driver.name, told, time.monotonic()))
                    self._look.set()
            except SaysNothing:
                log.info("DRA driver %s says nothing of the health of its devices", driver.name)
                return
            except CannotPrepare as problem:
                log.debug("cannot hear of the health of devices from DRA driver %s: %s", driver.name, problem)
            finally:
                self._tell(self.health.forget(driver.name))
            await asyncio.sleep(self._again)

    async def run(self) -> None:
        """Forget what drivers did not tell again in time."""
        while True:
            self._look.clear()
            self._tell(self.health.expire(time.monotonic()))
            expiry = self.health.next_expiry
            left = None if expiry is None else max(0.0, expiry - time.monotonic())
            try:
                await asyncio.wait_for(self._look.wait(), left)
            except TimeoutError:
                continue

    def _tell(self, devices: frozenset[Key]) -> None:
        if devices:
            self.changed(devices)
