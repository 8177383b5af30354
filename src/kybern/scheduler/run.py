"""The scheduling loop: watch what there is, decide one pod after the other, bind many at a time.

    watch ──> table, queue ──> find ──> table.place (assumed), reserve ──> settle ──ok──> the watch confirms
                 ^               └─ refused ──> seek relief; condition, event   └─ no ──> unplace, back off

A pod counts on its node from the moment it is decided, so that the next decision sees it; the binding itself is written
meanwhile. The decision takes no I/O unless extenders are asked: between two awaits the table does not change. Decisions do
not run ahead of the bindings by more than a batch: then both processes have work all the time, this one and the API server.
"""

import asyncio

import numpy as np

from kybern.api.core_v1 import Pod
from kybern.scheduler.asking import find
from kybern.scheduler.bind import ERROR
from kybern.scheduler.changes import Action, Happening
from kybern.scheduler.extender import ExtenderFailed
from kybern.scheduler.feed import Feed
from kybern.scheduler.framework import Attempt
from kybern.scheduler.handle import Handle
from kybern.scheduler.metrics import ALGORITHM, UNDER_WAY, attempted, bound
from kybern.scheduler.outcomes import Refused
from kybern.scheduler.parked import Parked
from kybern.scheduler.promises import Promises
from kybern.scheduler.queue import DELAYS, Delays, Profiles, Queue, Waiting
from kybern.scheduler.relief import seek
from kybern.scheduler.settling import Failed, reserve, settle
from kybern.scheduler.stopwatch import Sampled, Stopwatch
from kybern.scheduler.table import Table

BATCH = 50  # decisions before others get their turn
FLUSH_EVERY = 30.0


class Scheduler:
    """One scheduler. ``profiles`` are by scheduler name; pods of other schedulers only count on their nodes.

    The same ``seed`` gives the same choices among equal nodes.
    """

    def __init__(
        self,
        handle: Handle,
        profiles: Profiles,
        delays: Delays = DELAYS,
        seed: int | None = None,
    ) -> None:
        self.handle = handle
        self.profiles = profiles
        self.table = Table()
        self.queue = Queue(profiles, delays)
        self.promises = Promises()
        self.parked = Parked()
        self.feed = Feed(handle.client, self.queue, profiles, self.table, self.promises, self.parked)
        self.random = np.random.default_rng(seed)
        self._sampled = Sampled(profiles)
        self._start = 0
        self._leads = False

    def check(self) -> None:
        """For /readyz: who leads has seen all lists; who does not lead reads none."""
        if self._leads:
            self.feed.check()

    async def run(self) -> None:
        """For ever; to be called by the leader only."""
        self._leads = True
        async with asyncio.TaskGroup() as tasks:
            for follow in self.feed.tasks():
                tasks.create_task(follow())
            await self.feed.listed()
            await self._decide(tasks)

    async def _decide(self, tasks: asyncio.TaskGroup) -> None:
        flushed = _now()
        while True:
            await self.handle.binder.caught_up()
            self.feed.changed.clear()
            now = _now()
            if now - flushed > FLUSH_EVERY:
                flushed = now
                self.queue.flush(now)
            for _ in range(BATCH):
                waiting = self.queue.pop(now)
                if waiting is None:
                    break
                await self._one(waiting, tasks)
            else:
                await asyncio.sleep(0)  # the bindings of this batch are asked for
                continue
            await self._wait(now)

    async def _wait(self, now: float) -> None:
        """Until something changes, or the next back-off is over."""
        ends = self.queue.next_at()
        seconds = FLUSH_EVERY if ends is None else min(max(ends - now, 0.0), FLUSH_EVERY)
        try:
            async with asyncio.timeout(seconds):
                await self.feed.changed.wait()
        except TimeoutError:
            return

    async def _one(self, waiting: Waiting, tasks: asyncio.TaskGroup) -> None:
        facts = waiting.facts
        profile, timing = self._sampled.next(waiting.profile), Stopwatch(waiting.profile)
        attempt = Attempt(facts, self.table, profile, self.promises, self.parked, timing=timing)
        try:
            found = await find(attempt, self.handle.extenders, self.random, self._start)
            ALGORITHM.of().observe(attempt.timing.taken())
            if waiting.uid not in self.queue:
                return
            if isinstance(found, Refused):
                await self._refused(waiting, attempt, found, tasks)
                return
        except ExtenderFailed as problem:
            self._failed(waiting, attempt, Failed(str(problem)), tasks)
            return
        self._start = self.table.index.get(found.node, 0) + 1
        self.table.place(waiting.uid, found.node, facts)
        refused = reserve(attempt, found.node)
        if refused is None:
            tasks.create_task(self._settle(waiting, attempt, found.node, tasks))
        else:
            self._turned_down(waiting, attempt, refused, tasks)

    async def _refused(
        self, waiting: Waiting, attempt: Attempt, found: Refused, tasks: asyncio.TaskGroup
    ) -> None:
        said, promised = await seek(attempt, found, self.handle, tasks)
        attempted("unschedulable", waiting, attempt.timing.taken())
        self.queue.refused(waiting, found.plugins)
        tasks.create_task(self.handle.binder.refuse(attempt.facts.pod, said, promised))

    async def _settle(self, waiting: Waiting, attempt: Attempt, node: str, tasks: asyncio.TaskGroup) -> None:
        self._activate(attempt)
        UNDER_WAY["binding"] += 1
        try:
            found = await settle(attempt, node, self.handle)
        finally:
            UNDER_WAY["binding"] -= 1
        self._activate(attempt)
        match found:
            case None:
                self.handle.binder.assigned(waiting.facts.pod, node)
                attempted("scheduled", waiting, attempt.timing.taken())
                bound(waiting, _now())
            case Failed() as problem:
                self._failed(waiting, attempt, problem, tasks)
            case refused:
                self._turned_down(waiting, attempt, refused, tasks)

    def _activate(self, attempt: Attempt) -> None:
        """Try those pods again that a plugin named."""
        for uid in attempt.activate:
            self.queue.activate(uid, _now())
        if attempt.activate:
            attempt.activate.clear()
            self.feed.changed.set()

    def _turned_down(
        self, waiting: Waiting, attempt: Attempt, refused: Refused, tasks: asyncio.TaskGroup
    ) -> None:
        """A plugin refused the node that was chosen. What the pod took there may help others."""
        attempted("unschedulable", waiting, attempt.timing.taken())
        known = waiting.uid in self.queue
        self.queue.refused(waiting, refused.plugins)
        self._give_back(waiting)
        if known:
            tasks.create_task(self.handle.binder.refuse(waiting.facts.pod, refused.reasons))

    def _failed(self, waiting: Waiting, attempt: Attempt, problem: Failed, tasks: asyncio.TaskGroup) -> None:
        attempted("error", waiting, attempt.timing.taken())
        known = waiting.uid in self.queue
        self._give_back(waiting)
        self.queue.failed(waiting)
        if known:
            tasks.create_task(self.handle.binder.refuse(waiting.facts.pod, problem.reason, "", ERROR))

    def _give_back(self, waiting: Waiting) -> None:
        self.promises.end(waiting.uid)
        if self.table.placed_on(waiting.uid):
            self.table.unplace(waiting.uid)
            gone = Happening(Pod, Action.GONE, old=waiting.facts.pod)
            self.queue.changed(gone, _now(), waiting.uid)
        self.feed.changed.set()


def _now() -> float:
    """Seconds that only grow: the event loop's, so that a simulation may let time pass as it likes."""
    return asyncio.get_running_loop().time()
