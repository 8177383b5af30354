"""The scheduling loop: watch what there is, decide one pod after the other, bind many at a time.

    watch ──> table, queue ──> cycle.schedule (pure) ──> table.place (assumed) ──> bind ──ok──> the watch confirms
                 ^                    └─ refused ──> condition and event               └─ no ──> unplace, back off

A pod counts on its node from the moment it is decided, so that the next decision sees it; the binding itself is written
meanwhile. The decision takes no I/O, so no lock is needed: between two awaits the table does not change.
"""

import asyncio
import time
from collections.abc import Callable

import numpy as np
from prometheus_client import Counter, Gauge, Histogram

from kybern.client.verbs import Verbs
from kybern.scheduler.bind import Binder
from kybern.scheduler.cycle import Placed, Refused, schedule
from kybern.scheduler.feed import Feed
from kybern.scheduler.promises import Promises
from kybern.scheduler.queue import DELAYS, Delays, Profiles, Queue, Waiting
from kybern.scheduler.room import Room
from kybern.scheduler.table import Table

BATCH = 50  # decisions before others get their turn
FLUSH_EVERY = 30.0

ATTEMPTS = Counter("scheduler_schedule_attempts_total", "Attempts by result", ["result", "profile"])
ALGORITHM = Histogram("scheduler_scheduling_algorithm_duration_seconds", "Time of one decision")
LATENCY = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds", "From seeing a pod to its binding", ["attempts"]
)
PENDING = Gauge("scheduler_pending_pods", "Pods that want a node", ["queue"])


class Scheduler:
    """One scheduler. ``profiles`` are plugins by scheduler name; pods of other schedulers only count on their nodes.

    The same ``seed`` gives the same choices among equal nodes. ``clock`` gives seconds that only grow.
    """

    def __init__(
        self,
        client: Verbs,
        binder: Binder,
        profiles: Profiles,
        delays: Delays = DELAYS,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.binder = binder
        self.profiles = profiles
        self.table = Table()
        self.queue = Queue(profiles, delays)
        self.promises = Promises()
        self.room = Room(binder, self.table, self.promises)
        self.feed = Feed(client, self.table, self.queue, profiles, self.promises, clock)
        self.random = np.random.default_rng(seed)

    def check(self) -> None:
        """For /readyz: all lists have been seen."""
        self.feed.check()

    async def run(self) -> None:
        """For ever; to be called by the leader only."""
        async with asyncio.TaskGroup() as tasks:
            for follow in self.feed.tasks():
                tasks.create_task(follow())
            await self.feed.listed()
            await self._decide(tasks)

    async def _decide(self, tasks: asyncio.TaskGroup) -> None:
        flushed = self.clock()
        while True:
            self.feed.changed.clear()
            now = self.clock()
            if now - flushed > FLUSH_EVERY:
                flushed = now
                self.queue.flush(now)
            for _ in range(BATCH):
                waiting = self.queue.pop(now)
                if waiting is None:
                    break
                self._one(waiting, tasks)
            else:
                await asyncio.sleep(0)
                continue
            self._count()
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

    def _one(self, waiting: Waiting, tasks: asyncio.TaskGroup) -> None:
        facts = waiting.facts
        plugins, promised = self.profiles[waiting.profile], self.promises.of(waiting.uid)
        with ALGORITHM.time(), self.promises.kept(facts.pod, self.table):
            found = schedule(facts, self.table, plugins, self.random, promised)
        match found:
            case Placed(node):
                self.table.place(waiting.uid, node, facts)
                tasks.create_task(self._bind(waiting, node))
            case Refused():
                ATTEMPTS.labels("unschedulable", waiting.profile).inc()
                self.queue.refused(waiting, found.plugins)
                said, promised = self.room.make(facts, found, plugins, tasks)
                tasks.create_task(self.binder.refuse(facts.pod, said, promised))

    async def _bind(self, waiting: Waiting, node: str) -> None:
        if await self.binder.bind(waiting.facts.pod, node):
            ATTEMPTS.labels("scheduled", waiting.profile).inc()
            LATENCY.labels(str(waiting.attempts)).observe(self.clock() - waiting.since)
            return
        ATTEMPTS.labels("error", waiting.profile).inc()
        self.table.unplace(waiting.uid)
        self.queue.failed(waiting)
        self.feed.changed.set()

    def _count(self) -> None:
        for place, number in self.queue.counts().items():
            PENDING.labels(place).set(number)
