"""The one loop of eviction: measure, look, free what is nobody's, then give up one pod, and wait for its end.

What holds: at most one pod goes for a threshold at each look, and the next look comes after it ended (or half a minute),
because only then it is known whether it was enough. Pods that the system needs are never given up.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Gauge

from kybern.api.core_v1 import Pod, PodCondition
from kybern.kubelet.admit import critical
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.eviction import outlook, storage
from kybern.kubelet.eviction.message import annotations, message
from kybern.kubelet.eviction.outlook import Outlook
from kybern.kubelet.eviction.ranking import ranked
from kybern.kubelet.eviction.signals import Amount, Threshold, observed
from kybern.kubelet.stats.use import NodeUse
from kybern.kubelet.status import Verdict
from kybern.kubelet.surroundings import Pressures
from kybern.kubelet.voice import Voice

log = logging.getLogger(__name__)

# Upstream counts under a name that does not end with _total, which the library gives to gauges only.
EVICTIONS = Gauge(
    "kubelet_evictions", "Cumulative number of pod evictions by eviction signal", ["eviction_signal"]
)
_EVERY = 10.0
_CLEANUP = 30.0
_AT_ONCE = 1


class Candidate(Protocol):
    """A pod that can be given up: its worker."""

    @property
    def pod(self) -> Pod: ...

    def end(self, verdict: Verdict | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """As configured. ``most_grace`` is how long a pod may take to end beyond a soft threshold; times in seconds."""

    thresholds: tuple[Threshold, ...] = ()
    transition: float = 300.0
    most_grace: int = 0
    every: float = _EVERY
    limits: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """What the loop looks at and acts on. ``free`` removes dead containers and unused images."""

    measure: Callable[[], Awaitable[NodeUse]]
    candidates: Callable[[], Iterable[Candidate]]
    ended: Callable[[tuple[str, ...]], Awaitable[None]]
    free: Callable[[], Awaitable[None]]
    voice: Voice
    pressures: Pressures = field(default_factory=Pressures)


class Evictor:
    """``run`` belongs into the daemon's TaskGroup."""

    def __init__(self, rules: Rules, world: World) -> None:
        self._rules = rules
        self._world = world
        self._outlook = Outlook()

    async def run(self) -> None:
        while True:
            try:
                given_up = await self.look()
            except (RuntimeFailure, OSError) as problem:
                log.warning("cannot look whether the node is short of something: %s", problem)
                given_up = ()
            if given_up:
                await self._ended(given_up)
            else:
                await asyncio.sleep(self._rules.every)

    async def look(self) -> tuple[str, ...]:
        """Look once, and act; the uids of pods that were given up."""
        found = await self._world.measure()
        seen = observed(found)
        rules = self._rules
        self._outlook = outlook.look(
            self._outlook, rules.thresholds, seen, time.monotonic(), rules.transition
        )
        self._world.pressures.conditions = self._outlook.conditions
        over = self._over_limits(found) if rules.limits else ()
        if over or not self._outlook.due:
            return over
        threshold = self._outlook.due[0]
        text = f"Attempting to reclaim {threshold.resource}"
        self._world.voice.node("Warning", "EvictionThresholdMet", text)
        if _images_are_there(threshold, found) and await self._freed_enough():
            return ()
        return self._give_up(threshold, found, seen)

    async def _ended(self, uids: tuple[str, ...]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLEANUP):
                await self._world.ended(uids)

    def _over_limits(self, found: NodeUse) -> tuple[str, ...]:
        gone = []
        for candidate in self._world.candidates():
            use = found.pod(candidate.pod.metadata.uid)
            beyond = use and storage.exceeded(candidate.pod, use, dedicated=found.dedicated_image_fs)
            if beyond and self._end(candidate, beyond[1], _AT_ONCE):
                EVICTIONS.labels(beyond[0]).inc()
                gone.append(candidate.pod.metadata.uid)
        return tuple(gone)

    async def _freed_enough(self) -> bool:
        """Whether it was enough to take away what nobody uses."""
        await self._world.free()
        seen = observed(await self._world.measure())
        return not outlook.crossed(self._rules.thresholds, seen, minimum=True)

    def _give_up(self, threshold: Threshold, found: NodeUse, seen: Mapping[str, Amount]) -> tuple[str, ...]:
        by_uid = {candidate.pod.metadata.uid: candidate for candidate in self._world.candidates()}
        pods = [candidate.pod for candidate in by_uid.values()]
        for pod in ranked(threshold, pods, found):
            uid = pod.metadata.uid
            text = message(threshold, pod, found.pod(uid), seen)
            condition = PodCondition(
                type="DisruptionTarget", status="True", reason="TerminationByKubelet", message=text
            )
            grace = _AT_ONCE if threshold.hard else self._rules.most_grace
            notes = annotations(threshold, pod, found.pod(uid))
            if self._end(by_uid[uid], text, grace, condition, notes):
                EVICTIONS.labels(threshold.signal).inc()
                return (uid,)
        log.warning("the node is short of %s, but no pod can be given up", threshold.resource)
        return ()

    def _end(
        self,
        candidate: Candidate,
        text: str,
        grace: int,
        condition: PodCondition | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> bool:
        if critical(candidate.pod):
            return False
        self._world.voice.pod(candidate.pod, "Warning", "Evicted", text, notes)
        candidate.end(Verdict("Evicted", text, grace, condition))
        return True


def _images_are_there(threshold: Threshold, found: NodeUse) -> bool:
    """Whether to take away dead containers and unused images makes room where it is short.

    With a disk of their own it makes none on the node's (upstream: buildSignalToNodeReclaimFuncs).
    """
    on_node = found.dedicated_image_fs and threshold.signal.startswith("nodefs.")
    return threshold.condition == "DiskPressure" and not on_node
