"""Tidying up: what is dead, what is left of pods that are gone, networks of no sandbox, images when the disk is full.

What holds: of each container the newest dead run stays (its logs and its exit code are still asked for); nothing of a pod
that some source still wants is touched but that; an image in use stays. ``surplus_*`` decide and are pure.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from kybern.kubelet.agent import Agent
from kybern.kubelet.convert import Image
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.images.names import with_tag
from kybern.kubelet.images.surplus import surplus, too_old
from kybern.kubelet.leftovers.network import Networks
from kybern.kubelet.leftovers.removal import remove_container
from kybern.kubelet.parts import containers
from kybern.kubelet.runtime import Actual, Instance, RunState, Sandbox
from kybern.kubelet.settings import Settings
from kybern.kubelet.stats.trees import file_system
from kybern.kubelet.status import FINISHED
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.volumes.plugin import CannotMount

log = logging.getLogger(__name__)

_EVERY = 60.0
_IMAGES_EVERY = 300.0
_KEPT = 1


def surplus_runs(actual: Actual) -> list[Instance]:
    """Dead runs beyond the newest of each container; none that is the newest run of all."""
    found = []
    for name in {instance.name for instance in actual.instances}:
        dead = [run for run in actual.runs(name) if run.state in (RunState.EXITED, RunState.CREATED)]
        running = any(run.running for run in actual.runs(name))
        # A run that goes on has one dead one before it (lastState); a dead one has one before it, too.
        found += dead[_KEPT + (0 if running else 1) :]
    return found


def surplus_sandboxes(actual: Actual) -> list[Sandbox]:
    """Dead sandboxes but the newest, once nothing is left in them."""
    used = {instance.sandbox for instance in actual.instances}
    return [s for s in actual.sandboxes[1:] if not s.ready and s.id not in used]


class Collector:
    """``run`` belongs into the daemon's TaskGroup."""

    def __init__(
        self,
        agent: Agent,
        here: Surroundings,
        settings: Settings,
        tidy: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``tidy`` is what storage drivers do beside."""
        self._tidy = tidy
        self._networks = Networks(here.runtime, settings.endpoint)
        self._agent = agent
        self._here = here
        self._settings = settings
        self._last_used: dict[str, float] = {}
        self._images_at = 0.0
        self._image_directory = ""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self.look()
            except (RuntimeFailure, OSError) as problem:
                log.warning("cannot tidy up: %s", problem)

    async def look(self) -> None:
        """Tidy up once."""
        for worker, _task in list(self._agent.workers.values()):
            try:
                await self._dead(worker.actual)
            except RuntimeFailure as problem:
                log.warning("cannot remove what is dead of pod %s: %s", worker.pod.metadata.uid, problem)
        await self._orphans()
        await self._networks.look()
        if time.monotonic() - self._images_at > _IMAGES_EVERY:
            self._images_at = time.monotonic()
            await self._images()

    async def free(self) -> None:
        """Take away all that nobody uses: the disk is short (upstream's DeleteAllUnusedContainers, DeleteUnusedImages)."""
        for worker, _task in list(self._agent.workers.values()):
            if worker.status.phase in FINISHED:
                for instance in worker.actual.instances:
                    await remove_container(self._here.runtime, instance.id)
            else:
                await self._dead(worker.actual)
        images = await self._here.runtime.images()
        for image in surplus(images, self._used(images), {}, 1.0, sum(i.size for i in images) + 1):
            await self._here.runtime.remove_image(image.id)

    async def _dead(self, actual: Actual) -> None:
        runtime = self._here.runtime
        for instance in surplus_runs(actual):
            await remove_container(runtime, instance.id)
            _unlink(instance.log_path)
        for sandbox in surplus_sandboxes(actual):
            await runtime.remove_sandbox(sandbox.id)

    async def _orphans(self) -> None:
        """What a kubelet that was killed left behind."""
        for uid in self._here.volumes.known():
            if not self._agent.known(uid):
                try:
                    await self._here.volumes.remove(uid)
                    log.info("Removed the directory of pod %s, which is gone", uid)
                except (CannotMount, OSError) as problem:
                    log.warning("cannot remove the directory of pod %s: %s", uid, problem)
        for uid, name in await asyncio.to_thread(lambda: list(self._here.cgroups.pods())):
            if not self._agent.known(uid):
                await asyncio.to_thread(self._here.cgroups.remove, name)
        await asyncio.to_thread(self._logs)
        await self._stray()

    def _logs(self) -> None:
        """Directories of logs end in the uid of their pod."""
        for directory in Path(self._here.machine.log_root).glob("*_*_*"):
            uid = directory.name.rpartition("_")[2]
            if not self._agent.known(uid):
                log.info("Removing the logs of pod %s, which is gone", uid)
                shutil.rmtree(directory, ignore_errors=True)

    async def _stray(self) -> None:
        """Devices, CPUs and memory of pods that are gone, and volumes that no pod uses."""
        here = self._here
        for uid in here.alignment.holders():
            if not self._agent.known(uid):
                await here.alignment.release(uid)
        if self._tidy is not None:
            try:
                await self._tidy()
            except CannotMount as problem:
                log.warning("cannot take back a volume: %s", problem)

    async def _images(self) -> None:
        """Remove images when the disk that holds them is fuller than it may be."""
        runtime, settings = self._here.runtime, self._settings
        images = await runtime.images()
        await self._here.images.prune(images)
        now = time.monotonic()
        used = self._used(images)
        for image in images:
            if image.id in used or image.id not in self._last_used:
                self._last_used[image.id] = now
        for image in too_old(images, used, self._last_used, now, settings.image_max_age):
            log.info("Removing image %s: nobody used it for %.0f s", image.id, settings.image_max_age)
            await runtime.remove_image(image.id)
        self._image_directory = self._image_directory or await runtime.image_directory()
        directory = Path(self._image_directory or self._settings.root_dir)
        disk = file_system(
            directory if await asyncio.to_thread(directory.exists) else self._here.volumes.root
        )
        # What is kept for root is as good as used: nobody else can write it.
        full = disk.capacity - disk.available
        if full * 100 < disk.capacity * settings.image_high:
            return
        excess = full - disk.capacity * settings.image_low // 100
        log.info(
            "The disk of the images is %d %% full: freeing %d bytes", full * 100 // disk.capacity, excess
        )
        freed = 0
        for image in surplus(images, used, self._last_used, now - settings.image_min_age, excess):
            await runtime.remove_image(image.id)
            freed += image.size
        if freed < excess:
            text = (
                f"Failed to garbage collect required amount of images. Attempted to free {excess} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
            self._here.voice.node("Warning", "FreeDiskSpaceFailed", text)

    def _used(self, images: Iterable[Image]) -> frozenset[str]:
        pods = list(self._agent.pods())
        wanted = {with_tag(c.image) for pod in pods for c, _init in containers(pod)}
        wanted |= {
            with_tag(v.image.reference) for pod in pods for v in pod.spec.volumes if v.image is not None
        }
        running = {i.image for w, _task in self._agent.workers.values() for i in w.actual.instances}
        running |= {i.image_id for w, _task in self._agent.workers.values() for i in w.actual.instances}
        names = wanted | running
        return frozenset(
            image.id
            for image in images
            if image.id in names
            or any(tag in names or tag.removeprefix("docker.io/library/") in names for tag in image.tags)
            or any(digest in names for digest in image.digests)
        )


def _unlink(path: str) -> None:
    """A run's log and what was set aside of it."""
    if path:
        for found in Path(path).parent.glob(f"{Path(path).name}*"):
            found.unlink(missing_ok=True)
