"""Which pod is next: by priority, then by how long it waits. Pure: the time is handed in, in seconds.

A pod is in one of three places. *Active*: to be tried now. *Backing off*: to be tried again when its delay is over, which
doubles from 1 to 10 s with every attempt. *Refused*: nobody took it; it waits for a change that one of the plugins which
refused it says could matter, or for FLUSH seconds, in case that a change was missed.
"""

import heapq
import itertools
from dataclasses import dataclass, field

from kybern.scheduler.framework import Change, Plugin
from kybern.scheduler.table import PodFacts

FIRST_DELAY, LAST_DELAY = 1.0, 10.0
FLUSH = 300.0


@dataclass(slots=True)
class Waiting:
    """A pod in the queue. ``since`` is when it came; ``refused_by`` the plugins of its last attempt."""

    facts: PodFacts
    since: float
    attempts: int = 0
    tried: float = 0.0
    refused_by: frozenset[str] = field(default_factory=frozenset)

    @property
    def uid(self) -> str:
        return self.facts.pod.metadata.uid

    def backoff_ends(self) -> float:
        delay: float = min(FIRST_DELAY * 2 ** max(self.attempts - 1, 0), LAST_DELAY)
        return self.tried + delay if self.attempts else 0.0


class Queue:
    """Pods that want a node."""

    def __init__(self, plugins: tuple[Plugin, ...]) -> None:
        self._wakes = {plugin.name: plugin.wakes for plugin in plugins}
        self._all: dict[str, Waiting] = {}
        self._active: list[tuple[int, float, int, str]] = []
        self._backing_off: list[tuple[float, int, str]] = []
        self._refused: dict[str, Waiting] = {}
        self._serial = itertools.count()
        self._where: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def counts(self) -> dict[str, int]:
        """How many pods are in each place, under upstream's names."""
        backing_off = sum(1 for _, serial, uid in self._backing_off if self._where.get(uid) == serial)
        active = len(self._all) - backing_off - len(self._refused)
        return {"active": active, "backoff": backing_off, "unschedulable": len(self._refused)}

    def set(self, facts: PodFacts, now: float) -> None:
        """A pod that wants a node, new or changed. A changed one is tried again after its back-off."""
        uid = facts.pod.metadata.uid
        known = self._all.get(uid)
        if known is None:
            self._all[uid] = Waiting(facts, now)
            self._activate(self._all[uid])
            return
        known.facts = facts
        if uid in self._refused:
            self._retry(known, now)

    def remove(self, uid: str) -> None:
        """A pod that wants no node any more; entries in the heaps are passed over later."""
        self._all.pop(uid, None)
        self._refused.pop(uid, None)
        self._where.pop(uid, None)

    def pop(self, now: float) -> Waiting | None:
        """The next pod to be tried, None when none is ready. It stays known until ``remove`` or ``refused``."""
        self._wake_backed_off(now)
        while self._active:
            _, _, serial, uid = heapq.heappop(self._active)
            if self._where.get(uid) == serial:
                waiting = self._all[uid]
                waiting.attempts += 1
                waiting.tried = now
                del self._where[uid]
                return waiting
        return None

    def refused(self, waiting: Waiting, by: frozenset[str]) -> None:
        """Nobody took the pod; it waits for a change."""
        if self._all.get(waiting.uid) is waiting:
            waiting.refused_by = by
            self._refused[waiting.uid] = waiting

    def failed(self, waiting: Waiting) -> None:
        """The attempt failed for a reason of its own (the API server was away): try again after the back-off."""
        if self._all.get(waiting.uid) is waiting:
            self._back_off(waiting)

    def changed(self, change: Change, now: float) -> None:
        """Something changed: those that it could help are tried again."""
        for waiting in list(self._refused.values()):
            if not waiting.refused_by or any(change in self._wakes[name] for name in waiting.refused_by):
                self._retry(waiting, now)

    def flush(self, now: float) -> None:
        """Pods that were refused long ago are tried again, whatever happened since."""
        for waiting in list(self._refused.values()):
            if now - waiting.tried >= FLUSH:
                self._retry(waiting, now)

    def next_at(self) -> float | None:
        """When the next back-off ends, None when none is running."""
        return self._backing_off[0][0] if self._backing_off else None

    def _retry(self, waiting: Waiting, now: float) -> None:
        self._refused.pop(waiting.uid, None)
        if waiting.backoff_ends() > now:
            self._back_off(waiting)
        else:
            self._activate(waiting)

    def _activate(self, waiting: Waiting) -> None:
        serial = next(self._serial)
        self._where[waiting.uid] = serial
        priority = waiting.facts.pod.spec.priority or 0
        heapq.heappush(self._active, (-priority, waiting.since, serial, waiting.uid))

    def _back_off(self, waiting: Waiting) -> None:
        serial = next(self._serial)
        self._where[waiting.uid] = serial
        heapq.heappush(self._backing_off, (waiting.backoff_ends(), serial, waiting.uid))

    def _wake_backed_off(self, now: float) -> None:
        while self._backing_off and self._backing_off[0][0] <= now:
            _, serial, uid = heapq.heappop(self._backing_off)
            if self._where.get(uid) == serial:
                self._activate(self._all[uid])
