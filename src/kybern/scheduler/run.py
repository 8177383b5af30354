"""The scheduling loop: watch pods and nodes, decide one pod after the other, bind many at a time.

    watch ──> table, queue ──> cycle.schedule (pure) ──> table.place (assumed) ──> bind ──ok──> the watch confirms
                 ^                    └─ refused ──> condition and event               └─ no ──> unplace, back off

A pod counts on its node from the moment it is decided, so that the next decision sees it; the binding itself is written
meanwhile. The decision takes no I/O, so no lock is needed: between two awaits the table does not change.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

from kybern.api.core_v1 import Node, Pod
from kybern.api.policy_v1 import PodDisruptionBudget
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.scheduler.bind import Binder
from kybern.scheduler.cycle import Placed, Refused, schedule
from kybern.scheduler.framework import Change, Plugin
from kybern.scheduler.queue import Queue, Waiting
from kybern.scheduler.room import Room
from kybern.scheduler.table import PodFacts, Table

LOG = logging.getLogger(__name__)
LIVE = "status.phase!=Succeeded,status.phase!=Failed"
BATCH = 50  # decisions before others get their turn
FLUSH_EVERY = 30.0

ATTEMPTS = Counter("scheduler_schedule_attempts_total", "Attempts by result", ["result", "profile"])
ALGORITHM = Histogram("scheduler_scheduling_algorithm_duration_seconds", "Time of one decision")
LATENCY = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds", "From seeing a pod to its binding", ["attempts"]
)
PENDING = Gauge("scheduler_pending_pods", "Pods that want a node", ["queue"])


class Scheduler:
    """One scheduler. ``profiles`` are plugins by scheduler name; pods of other schedulers only count on their nodes."""

    def __init__(self, client: Verbs, binder: Binder, profiles: Mapping[str, tuple[Plugin, ...]]) -> None:
        self.client = client
        self.binder = binder
        self.profiles = profiles
        self.table = Table()
        self.queue = Queue(
            tuple({plugin.name: plugin for one in profiles.values() for plugin in one}.values())
        )
        self._changed = asyncio.Event()
        self.room = Room(binder, self.table)
        self._lists = {kind: asyncio.Event() for kind in ("nodes", "pods", "poddisruptionbudgets")}

    def check(self) -> None:
        """For /readyz: all lists have been seen."""
        for name, seen in self._lists.items():
            if not seen.is_set():
                raise RuntimeError(f"{name} are not listed yet")

    async def run(self) -> None:
        """For ever; to be called by the leader only."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_nodes())
            tasks.create_task(self._follow_pods())
            tasks.create_task(self._follow_budgets())
            for seen in self._lists.values():
                await seen.wait()
            await self._decide(tasks)

    async def _follow_nodes(self) -> None:
        async for event in watch(self.client, Node):
            now = time.monotonic()
            match event:
                case Synced(items):
                    for node in items:
                        self.table.set_node(node)
                    self._lists["nodes"].set()
                case Added(node):
                    self.table.set_node(node)
                    self.queue.changed(Change.NODE_ADDED, now)
                case Modified(node, old):
                    if not _matters(node, old):
                        continue
                    self.table.set_node(node)
                    self.queue.changed(Change.NODE_CHANGED, now)
                case Deleted(node):
                    self.table.remove_node(node.metadata.name)
            self._changed.set()

    async def _follow_pods(self) -> None:
        async for event in watch(self.client, Pod, field_selector=LIVE):
            match event:
                case Synced(items):
                    for pod in items:
                        self._see(pod)
                    self._lists["pods"].set()
                case Added(pod) | Modified(pod):
                    self._see(pod)
                case Deleted(pod):
                    self._lose(pod)
            self._changed.set()

    async def _follow_budgets(self) -> None:
        known = self.room.budgets

        def key(one: PodDisruptionBudget) -> tuple[str, str]:
            return one.metadata.namespace, one.metadata.name

        async for event in watch(self.client, PodDisruptionBudget):
            match event:
                case Synced(items):
                    known.update({key(one): one for one in items})
                    self._lists["poddisruptionbudgets"].set()
                case Added(one) | Modified(one):
                    known[key(one)] = one
                case Deleted(one):
                    known.pop(key(one), None)

    def _see(self, pod: Pod) -> None:
        """A pod that is there: on a node, waiting for one, or somebody else's business."""
        uid, now = pod.metadata.uid, time.monotonic()
        if pod.spec.node_name:
            self.queue.remove(uid)
            self.room.promises.end(uid)
            self.table.place(uid, pod.spec.node_name, PodFacts.of(pod))
        elif (
            pod.metadata.deletion_timestamp
            or pod.spec.scheduling_gates
            or pod.spec.scheduler_name not in self.profiles
        ):
            self.queue.remove(uid)
            self.room.gone(uid)
        elif not self.table.placed_on(uid):
            facts = PodFacts.of(pod)
            if pod.status.nominated_node_name:
                self.room.promises.make(pod.status.nominated_node_name, facts)
            self.queue.set(facts, now)

    def _lose(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        self.queue.remove(uid)
        self.room.gone(uid)
        if self.table.placed_on(uid):
            self.table.unplace(uid)
            self.queue.changed(Change.POD_GONE, time.monotonic())

    async def _decide(self, tasks: asyncio.TaskGroup) -> None:
        flushed = time.monotonic()
        while True:
            self._changed.clear()
            now = time.monotonic()
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
                await self._changed.wait()
        except TimeoutError:
            return

    def _one(self, waiting: Waiting, tasks: asyncio.TaskGroup) -> None:
        facts = waiting.facts
        profile = facts.pod.spec.scheduler_name
        with ALGORITHM.time(), self.room.promises.kept(facts.pod, self.table):
            found = schedule(facts, self.table, self.profiles[profile], self.room.promises.of(waiting.uid))
        match found:
            case Placed(node):
                self.table.place(waiting.uid, node, facts)
                tasks.create_task(self._bind(waiting, node))
            case Refused():
                ATTEMPTS.labels("unschedulable", profile).inc()
                self.queue.refused(waiting, found.plugins)
                said, promised = self.room.make(facts, found, self.profiles[profile], tasks)
                tasks.create_task(self.binder.refuse(facts.pod, said, promised))

    async def _bind(self, waiting: Waiting, node: str) -> None:
        profile = waiting.facts.pod.spec.scheduler_name
        if await self.binder.bind(waiting.facts.pod, node):
            ATTEMPTS.labels("scheduled", profile).inc()
            LATENCY.labels(str(waiting.attempts)).observe(time.monotonic() - waiting.since)
            return
        ATTEMPTS.labels("error", profile).inc()
        self.table.unplace(waiting.uid)
        self.queue.failed(waiting)
        self._changed.set()

    def _count(self) -> None:
        for place, number in self.queue.counts().items():
            PENDING.labels(place).set(number)


def _matters(node: Node, old: Node) -> bool:
    """Heartbeats change a node every few seconds; only these parts of it are looked at by plugins."""

    def parts(one: Node) -> tuple[object, ...]:
        return one.spec, one.metadata.labels, one.status.allocatable, one.status.images

    return parts(node) != parts(old)
