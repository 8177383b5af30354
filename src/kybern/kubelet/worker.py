"""The life of one pod on this node, in one task that nothing else interferes with.

    run: observe ─> describe (status) ─> plan ─> act ─> again, until nothing is left to do; then wait to be woken
    end: stop everything within the grace period ─> last status ─> volumes and cgroup away ─> out of the API

What holds: a pod that must end (deleted, finished, past its deadline, gone from its source) interrupts whatever its worker
is doing, a pull or a start. A shorter grace period takes effect at once. The API server is told of the end only when
nothing of the pod runs any more, and the pod leaves it only after that.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace as replace_in
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kybern.api.core_v1 import Pod, PodStatus
from kybern.kubelet import numbers
from kybern.kubelet import status as describing
from kybern.kubelet.allotment import Allotment
from kybern.kubelet.containers import Reasons
from kybern.kubelet.countdown import Countdown
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.ending import Ending
from kybern.kubelet.labels import is_static
from kybern.kubelet.plan import Facts, Hold, plan, resizing, wake_after
from kybern.kubelet.probes.prober import Prober
from kybern.kubelet.publish import Publisher, finished
from kybern.kubelet.resize import Refusal
from kybern.kubelet.runtime import Actual
from kybern.kubelet.status import FINISHED, Situation, Verdict, status_of
from kybern.kubelet.steps import Steps
from kybern.kubelet.surroundings import Surroundings
from kybern.kubelet.unseen import Unseen
from kybern.kubelet.volumes.kept import Failed
from kybern.machinery.struct import replace

log = logging.getLogger(__name__)

_RETRY = 10.0
_FIRST_MOUNT, _LAST_MOUNT = 0.5, 122.0
_REFRESH = 60.0
# How often a resize is tried again that waits for room on the node (upstream's initialRetryDelay).
_RESIZE_AGAIN = 30.0
# More steps than any plan needs; a plan that never comes to rest must not turn into a busy loop.
_STEPS = 50


class Worker:
    """One pod. ``told`` gives the API's object to tell the status of: the pod, or a static pod's mirror.

    ``wanted`` is the pod as its source has it; ``pod`` asks for the resources that it was granted.
    """

    def __init__(
        self,
        pod: Pod,
        here: Surroundings,
        publisher: Publisher,
        told: Callable[[Pod], Pod | None],
        refuse: Callable[[Pod], Refusal | None],
    ) -> None:
        self.allotment = Allotment(here.volumes.home(pod.metadata.uid), here.voice, refuse)
        self.wanted = pod
        self.pod = self.allotment.granted(pod)
        self.gone = False
        # The manifest of a static pod came back before its pod had ended: another worker of the same pod waits for that.
        self.followed = False
        # Nobody knew of the pod but the runtime.
        self.stray = False
        # When it was first seen, of a pod that did not run then.
        self._seen = time.monotonic() if pod.status.phase in ("", "Pending") else None
        self._kind = "create"
        self.verdict: Verdict | None = None
        self.status: PodStatus = pod.status
        self.actual = Actual(pod.metadata.uid)
        self.over = pod.status.phase in FINISHED
        self._here = here
        self._publisher = publisher
        self._told = told
        self._woken = asyncio.Event()
        self._must_end = asyncio.Event()
        # Nothing runs and its volumes are away; then also all that it was given here, down to its cgroup.
        self.unmounted, self.stopped = asyncio.Event(), asyncio.Event()
        self._steps = Steps(here, self.allotment)
        self._active = Countdown()
        # Seconds after which the status is to be told that was not told yet.
        self._untold: float | None = None
        self._unseen = Unseen(here.unseen_for)
        self._volumes: Mapping[str, Path] | None = None
        self._refresh_at = 0.0
        self._mount_delay = _FIRST_MOUNT
        self.prober = Prober(here.runtime, here.voice, next(iter(here.host_ips), ""), self.wake)

    # -- what others say -------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something happened: look."""
        self._woken.set()

    def update(self, pod: Pod) -> None:
        """The pod's source has another state of it."""
        before, self.wanted = self.wanted, pod
        self.pod = self.allotment.granted(pod)
        if pod.metadata.deletion_timestamp is not None:
            self.end()
        if _shown_in_files(before) != _shown_in_files(pod):
            # What files of the downward API say is written at once, not with the next round.
            self._refresh_at = 0.0
        if _others_part(before) != _others_part(pod) or self._publisher.overwritten(pod):
            self.wake()

    def remove(self) -> None:
        """The pod's source does not have it any more."""
        self.gone = True
        self.end()

    def end(self, verdict: Verdict | None = None) -> None:
        """The pod must end; the first verdict counts."""
        self.verdict = self.verdict or verdict
        self._must_end.set()
        self.wake()

    @property
    def ending(self) -> bool:
        return self._must_end.is_set() or self.over

    # -- the task --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the pod is gone for good."""
        try:
            if self.pod.metadata.deletion_timestamp is not None or self.gone:
                self.end()
            while not self.ending:
                pause = await self._interruptible(self._guarded())
                if not self.ending:
                    waits = [found for found in (pause, self._untold) if found is not None]
                    await self._wait(min(waits, default=None))
            await Ending(self, self._here, self._publisher).run()
        finally:
            self.unmounted.set()
            self.stopped.set()
            await self.prober.close()

    async def wait_for_change(self, seconds: float | None = None) -> None:
        """Until something happens or time has passed."""
        await self._wait(seconds)

    async def _wait(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _interruptible(self, work: Coroutine[Any, Any, float | None]) -> float | None:
        """Do some work, but no longer than until the pod must end."""
        task = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self._must_end.wait())
        try:
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, ending):
                each.cancel()
            await asyncio.gather(task, ending, return_exceptions=True)

    async def _guarded(self) -> float | None:
        kind, self._kind = self._kind, "sync"
        try:
            with numbers.working(kind):
                return await self._sync()
        except RuntimeFailure as problem:
            log.warning("pod %s/%s: %s", self.pod.metadata.namespace, self.pod.metadata.name, problem)
            return _RETRY
        except OSError as problem:
            # A full disk, say: what runs goes on, and what could not be written is tried again.
            log.warning("pod %s/%s: %s", self.pod.metadata.namespace, self.pod.metadata.name, problem)
            self._here.voice.pod(self.pod, "Warning", "FailedSync", f"error syncing pod: {problem}")
            return _RETRY

    async def _sync(self) -> float | None:
        """As many steps as it takes to come to rest. Seconds after which to look again."""
        if await self.allotment.consider(self.wanted):
            self.pod = self.allotment.granted(self.wanted)
        await self.observe()
        if self._finish() or await self._refused_allocation():
            return None
        problem = await self._mount()
        if problem is not None:
            return problem
        for _step in range(_STEPS):
            actions = list(plan(self.facts()))
            done = [action for action in actions if not isinstance(action, Hold)]
            well = await self._steps.do(self.pod, actions, self.actual, self._volumes or {})
            if not done:
                # Nothing was done, so what was seen still holds; only reasons for waiting may be new.
                self.describe()
                await self._resized()
                return self._next(wake_after(actions))
            await self.observe()
            if self._finish():
                return None
            if not well:
                return self._here.images.wait(self.pod.metadata.uid) or _RETRY
        log.warning("pod %s/%s does not come to rest", self.pod.metadata.namespace, self.pod.metadata.name)
        return _RETRY

    async def _refused_allocation(self) -> bool:
        """Take the pod's devices and CPUs before anything of it runs; a pod that cannot have them ends."""
        if self.actual.sandboxes or self.gone:
            return False
        verdict = await self._here.alignment.admit(self.pod)
        if verdict is not None:
            self._here.voice.pod(self.pod, "Warning", verdict.reason, verdict.message)
            numbers.REJECTED.labels(verdict.reason).inc()
            self.end(replace_in(verdict, message=f"Pod was rejected: {verdict.message}"))
        return verdict is not None

    async def _resized(self) -> None:
        """At rest: a resize is over when no running container lacks anything."""
        if self.allotment.progress.generation is not None and not resizing(self.facts()):
            await self.allotment.done(self.pod)
            self.describe()

    async def observe(self, *, ending: bool = False) -> None:
        """Look at the runtime, adjust the probes, and tell what there is."""
        self.actual = await self._here.runtime.actual(self.pod.metadata.uid)
        self.prober.track(self.pod, self.actual, ending=ending)
        self.describe(ending=ending)

    def facts(self) -> Facts:
        return Facts(
            self.pod,
            self.actual,
            datetime.now(UTC),
            self.prober.health,
            self._steps.delays,
            self.allotment.actuated,
            self._here.restart_most,
            self._steps.replaced,
            self.allotment.due,
        )

    def describe(self, *, ending: bool = False, final: bool = False) -> None:
        """Bring the status up to date and hand it on."""
        if self.gone:
            return
        reasons = Reasons(self._steps.waiting, self._here.runtime.name, ending)
        situation = Situation(self._here.host_ips, reasons, self.verdict, self.allotment.progress)
        before = replace(self.status, conditions=self._merged_conditions())
        found = status_of(self.facts(), situation, before)
        found = self._here.devices.health(self.pod.metadata.uid, found)
        self.status = self._here.claims.health(self.pod, found, before)
        if self._seen is not None and self.status.phase == "Running":
            numbers.RUNS.of().observe(time.monotonic() - self._seen)
            self._seen = None
        if final:
            self.status = finished(self.status)
        self._untold = None
        if not ending and not final:
            self._untold = self._unseen.left(self.pod, self.actual, asyncio.get_running_loop().time())
        if self._untold is not None:
            return
        mirror = self._told(self.pod)
        if mirror is not None:
            self._publisher.tell(mirror, replace(self.status, qos_class=mirror.status.qos_class))

    def _merged_conditions(self) -> tuple[Any, ...]:
        """Our own as last described; those of others as the API server has them now."""
        others = [found for found in self.pod.status.conditions if found.type not in describing.OURS]
        return (*(c for c in self.status.conditions if c.type in describing.OURS), *others)

    def _finish(self) -> bool:
        """Whether the pod is over by itself: its containers ended, or its time is up."""
        left = self._active.left(self.pod.spec.active_deadline_seconds, self.status.start_time)
        if left is not None and left <= 0 and self.status.phase not in FINISHED:
            text = "Pod was active on the node longer than the specified deadline"
            self._here.voice.pod(self.pod, "Normal", "DeadlineExceeded", text)
            self.end(Verdict("DeadlineExceeded", text))
        elif self.status.phase in FINISHED:
            self.over = True
        return self.ending

    async def _mount(self) -> float | None:
        """Volumes first, and again from time to time. Seconds to wait when they cannot be had."""
        now = asyncio.get_running_loop().time()
        if self._volumes is not None and now < self._refresh_at:
            return None
        place = self._here.place(self.pod, self.actual)
        try:
            if self._volumes is None:
                self._volumes = await self._here.volumes.set_up(self.pod, place)
            else:
                await self._here.volumes.refresh(self.pod, place)
        except Failed as failed:
            for reason, text in failed.told:
                self._here.voice.pod(self.pod, "Warning", reason, text)
            if failed.limit:
                self.end(Verdict("VolumeAttachmentLimitExceeded", f"Pod was rejected: {failed.limit}"))
            if self._volumes is None:
                self._mount_delay = min(2 * self._mount_delay, _LAST_MOUNT)
                return self._mount_delay
        # Spread, so that the pods of a node do not all ask the API server in the same second.
        self._refresh_at = now + _REFRESH * random.uniform(1.0, 1.5)  # noqa: S311  # no secret
        return None

    def _next(self, seconds: float | None) -> float | None:
        """The earliest of: a delay that ends, volumes to be written again, the deadline."""
        waits = [seconds] if seconds is not None else []
        if self.allotment.progress.waits:
            waits.append(_RESIZE_AGAIN)
        if self.pod.spec.volumes:
            waits.append(max(1.0, self._refresh_at - asyncio.get_running_loop().time()))
        left = self._active.left(self.pod.spec.active_deadline_seconds, self.status.start_time)
        if left is not None:
            waits.append(max(0.1, left))
        return min(waits, default=None)

    @property
    def ended(self) -> bool:
        """Nothing of it runs any more."""
        return self.unmounted.is_set()

    @property
    def static(self) -> bool:
        return is_static(self.pod)


def _shown_in_files(pod: Pod) -> tuple[Any, ...]:
    return pod.metadata.labels, pod.metadata.annotations, pod.spec.containers


def _others_part(pod: Pod) -> tuple[Any, ...]:
    """What others say of a pod; the rest of its status are our own words coming back."""
    meta = pod.metadata
    foreign = tuple(found for found in pod.status.conditions if found.type not in describing.OURS)
    grace = (meta.deletion_timestamp, meta.deletion_grace_period_seconds)
    return pod.spec, meta.labels, meta.annotations, meta.generation, grace, foreign, meta.finalizers
