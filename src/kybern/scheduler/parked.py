"""Pods that have a node and wait for a permit to be bound to it. Pure: who waits is told by a callback, others keep time.

Plugins find here whom their own ``permit`` let wait, and allow or reject them: a gang is let go when its last one has come.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from kybern.scheduler.facts import PodFacts


@dataclass(slots=True)
class Waiter:
    """A parked pod. ``pending`` are the plugins that have not allowed it yet, with the seconds that each gives it.

    ``rejected`` is who rejected it and why; ``decided`` is called once, when nothing is pending or somebody rejected.
    """

    facts: PodFacts
    node: str
    pending: dict[str, float]
    rejected: tuple[str, str] | None = None
    decided: Callable[[], None] = field(default=lambda: None)

    @property
    def over(self) -> bool:
        return self.rejected is not None or not self.pending


class Parked:
    """By the uid of the pod."""

    def __init__(self) -> None:
        self._all: dict[str, Waiter] = {}

    def __iter__(self) -> Iterator[Waiter]:
        return iter(tuple(self._all.values()))

    def park(self, facts: PodFacts, node: str, pending: Mapping[str, float]) -> Waiter:
        waiter = self._all[facts.uid] = Waiter(facts, node, dict(pending))
        return waiter

    def of(self, uid: str) -> Waiter | None:
        return self._all.get(uid)

    def leave(self, uid: str) -> None:
        self._all.pop(uid, None)

    def allow(self, uid: str, plugin: str) -> None:
        """A plugin has nothing against the binding any more; nothing when the pod does not wait."""
        waiter = self._all.get(uid)
        if waiter is not None and not waiter.over:
            waiter.pending.pop(plugin, None)
            self._tell(waiter)

    def reject(self, uid: str, plugin: str, reason: str) -> None:
        """A plugin does not want the binding; one is enough. Nothing when the pod does not wait."""
        waiter = self._all.get(uid)
        if waiter is not None and not waiter.over:
            waiter.rejected = plugin, reason
            self._tell(waiter)

    def _tell(self, waiter: Waiter) -> None:
        if waiter.over:
            waiter.decided()
