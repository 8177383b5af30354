"""The end of a pod: stop, tell, tidy up, and let the API server forget it.

Where the pod stays known to the API server (it finished by itself), its containers and logs stay until it is deleted, so
that ``kubectl logs`` still works; its volumes and cgroup do not.
"""

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.dra.claims import CannotPrepare
from kybern.kubelet.leftovers.removal import remove_container
from kybern.kubelet.probes import metrics
from kybern.kubelet.publish import Publisher
from kybern.kubelet.resources import cgroup_of
from kybern.kubelet.spec import log_directory
from kybern.kubelet.stop import CannotStop, grace_of, stop_pod
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.volumes.plugin import CannotMount
from kybern.machinery.errors import ApiError, Conflict, NotFound

if TYPE_CHECKING:
    from kybern.kubelet.worker import Worker

log = logging.getLogger(__name__)

_RETRY = 2.0
_GONE_FROM_API = 30.0


class Ending:
    """Runs once, at the end of a worker."""

    def __init__(self, worker: "Worker", here: Surroundings, publisher: Publisher) -> None:
        self._worker = worker
        self._here = here
        self._publisher = publisher

    async def run(self) -> None:
        worker = self._worker
        await self._stop()
        worker.describe(ending=True, final=True)
        await self._tidy()
        worker.stopped.set()
        if not worker.gone and not worker.static:
            await self._until_deleted()
        await self._forget()

    async def _stop(self) -> None:
        """Until nothing runs. What the runtime refuses is asked again; a shorter grace period starts anew."""
        worker = self._worker
        while True:
            try:
                await worker.observe(ending=True)
                if not worker.actual.alive:
                    # Before the API server hears of the end, which makes the devices free for others.
                    await self._here.claims.unprepare(worker.pod.metadata.uid)
                    return
                await self._stop_within(self._grace())
            except (CannotStop, CannotPrepare, RuntimeFailure, OSError) as problem:
                text = f"error killing pod: {problem}"
                self._here.voice.pod(worker.pod, "Warning", "FailedKillPod", text)
                await worker.wait_for_change(_RETRY)

    def _grace(self) -> int:
        """Seconds: what the pod may take, or less where its end was decided here."""
        worker = self._worker
        own = grace_of(worker.pod, worker.actual)
        most = worker.verdict.grace if worker.verdict is not None else None
        return max(1, own if most is None else min(own, most))

    async def _stop_within(self, grace: int) -> None:
        worker = self._worker
        stopping = asyncio.ensure_future(stop_pod(worker.pod, worker.actual, self._here, grace))
        try:
            while not stopping.done():
                woken = asyncio.ensure_future(worker.wait_for_change())
                await asyncio.wait({stopping, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                await asyncio.gather(woken, return_exceptions=True)
                if stopping.done():
                    break
                # Readiness is probed to the end: a pod that no longer serves says so, and services turn away from it.
                worker.describe(ending=True)
                if self._grace() < grace:
                    return
            stopping.result()
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def _tidy(self) -> None:
        """Volumes, which make room on a full disk, then what it was given, and its cgroup."""
        worker = self._worker
        uid = worker.pod.metadata.uid
        name = cgroup_of(worker.pod, self._here.machine.cgroup_root)
        while True:
            try:
                await self._here.volumes.remove(uid)
                worker.unmounted.set()
                await self._here.alignment.release(uid)
                await asyncio.to_thread(self._here.cgroups.remove, name)
            except (CannotMount, OSError) as problem:
                log.warning("cannot take back what pod %s had: %s", uid, problem)
                await worker.wait_for_change(_RETRY)
            else:
                return

    async def _until_deleted(self) -> None:
        """Wait for someone to delete the pod, then confirm it: the API server removes it only on our word."""
        worker = self._worker
        while not worker.gone:
            if worker.pod.metadata.deletion_timestamp is None:
                await worker.wait_for_change()
                continue
            worker.describe(ending=True, final=True)
            await self._publisher.flushed(worker.pod.metadata.uid)
            try:
                await self._publisher.delete(worker.pod)
            except (NotFound, Conflict):
                return
            except ApiError as problem:
                log.warning("cannot delete pod %s: %s", worker.pod.metadata.name, problem)
                await worker.wait_for_change(_RETRY)
                continue
            # Finalizers may keep it: then its deletion is someone else's to end.
            await worker.wait_for_change(_GONE_FROM_API)

    async def _forget(self) -> None:
        """Containers, sandboxes and logs of a pod that no one knows any more."""
        worker, runtime = self._worker, self._here.runtime
        uid = worker.pod.metadata.uid
        self._here.objects.forget(uid)
        self._here.images.forget(uid)
        self._publisher.forget(uid)
        metrics.forget(worker.pod)
        if worker.followed and worker.pod.spec.restart_policy in ("", "Always"):
            # These are the runs before those that come, which count on from them.
            return
        with contextlib.suppress(RuntimeFailure):
            actual = await runtime.actual(uid)
            for instance in actual.instances:
                await remove_container(runtime, instance.id)
            for sandbox in actual.sandboxes:
                await runtime.remove_sandbox(sandbox.id)
        directory = Path(log_directory(worker.pod, self._here.machine.log_root))
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        await asyncio.to_thread(_unlink_dangling, self._here.container_logs, worker.pod.metadata.name)


def _unlink_dangling(directory: Path, name: str) -> None:
    for link in directory.glob(f"{name}_*.log"):
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
