"""Which pod is next, by the key of the profiles' queue sort. Pure: the time is handed in, in seconds.

A pod is in one of four places.

*Active*: to be tried now.
*Backing off*: to be tried again when its delay is over, which doubles with every attempt, or when no pod is active. Who
failed because the attempt went wrong has to wait in any case: that spares the API server.
*Refused*: nobody took it; it waits for a change of which one of the plugins that refused it says that it could help, or for
``Delays.refused`` seconds, in case that a change was missed.
*Gated*: a plugin says that it must not be tried yet; a change of the pod itself, or one that the plugin waits for, frees it.
"""

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kybern.api.core_v1 import Pod
from kybern.scheduler import event_labels
from kybern.scheduler.changes import Action, Happening, Hint
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.profile import EXTENDER, Profile

RECENT = 1000  # changes that are remembered for pods that are being tried

type Profiles = Mapping[str, Profile]


@dataclass(frozen=True, slots=True)
class Delays:
    """Between two attempts, in seconds; ``refused`` is the longest for a pod that waits for a change."""

    first: float = 1.0
    last: float = 10.0
    refused: float = 300.0


DELAYS = Delays()


@dataclass(slots=True)
class Waiting:
    """A pod in the queue. ``refusals`` and ``errors`` count attempts that ended so, errors since the last refusal.

    ``since`` is when it came, ``ready`` when nothing kept it from being tried any more (0: not yet).

    ``refused_by`` are the plugins of its last attempt, or the one whose gate it waits at.

    ``seen`` is how many changes there had been when that began: one that came meanwhile may have helped, as may one of the
    pod itself (``renewed``). ``flushed``: no change but time has it tried again.
    """

    facts: PodFacts
    since: float
    attempts: int = 0
    refusals: int = 0
    errors: int = 0
    tried: float = 0.0
    seen: int = 0
    ready: float = 0.0
    renewed: Happening | None = None
    flushed: bool = False
    refused_by: frozenset[str] = field(default_factory=frozenset)

    @property
    def uid(self) -> str:
        return self.facts.uid

    @property
    def profile(self) -> str:
        return self.facts.pod.spec.scheduler_name


class Queue:
    """Pods that want a node. ``incoming`` counts who came to which place after what, in the words of upstream's metrics."""

    def __init__(self, profiles: Profiles, delays: Delays = DELAYS) -> None:
        self._delays = delays
        self._gates = {
            name: [
                (one.name, one.pre_enqueue) for one in profile.at["preEnqueue"] if one.pre_enqueue is not None
            ]
            for name, profile in profiles.items()
        }
        sorts = (plugin.sort for profile in profiles.values() for plugin in profile.at["queueSort"])
        self._sort = next((sort for sort in sorts if sort is not None), _oldest)
        self._wakes = [
            ((name, plugin.name), wake)
            for name, profile in profiles.items()
            for plugin in profile.plugins
            for wake in plugin.wakes
        ]
        # Who says nothing about what could help may be helped by anything (upstream does so too).
        self._restless = {
            (name, plugin)
            for name, profile in profiles.items()
            for plugin in (EXTENDER, *(one.name for one in profile.plugins if not one.wakes))
        }
        self.incoming: Counter[tuple[str, ...]] = Counter()
        self._changes = 0
        self._recent: deque[Happening] = deque(maxlen=RECENT)
        self._all: dict[str, Waiting] = {}
        self._active: list[tuple[tuple[Any, ...], int, str]] = []
        self._backing_off: list[tuple[float, int, str]] = []
        self._erring: list[tuple[float, int, str]] = []
        self._refused: dict[str, Waiting] = {}
        self._gated: dict[str, Waiting] = {}
        self._serial = itertools.count()
        self._where: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, uid: str) -> bool:
        return uid in self._all

    def __iter__(self) -> Iterator[str]:
        """The uids."""
        return iter(self._all)

    def refusals(self) -> Counter[tuple[str, ...]]:
        """How many pods each plugin, of each profile, keeps from being bound."""
        return Counter(
            (plugin, waiting.profile)
            for uid, waiting in self._all.items()
            if uid in self._where or uid in self._refused or uid in self._gated
            for plugin in waiting.refused_by
        )

    def kept(self) -> Counter[tuple[str, ...]]:
        """The changes that count for pods which are being tried, in upstream's words."""
        tried = (
            waiting.seen
            for uid, waiting in self._all.items()
            if uid not in self._where and uid not in self._refused and uid not in self._gated
        )
        number = self._changes - min(tried, default=self._changes)
        return Counter(
            (event_labels.label(what),) for what in itertools.islice(reversed(self._recent), number)
        )

    def counts(self) -> dict[str, int]:
        """How many pods are in each place, under upstream's names."""
        waiting = itertools.chain(self._backing_off, self._erring)
        backing_off = sum(1 for _, serial, uid in waiting if self._where.get(uid) == serial)
        refused, gated = len(self._refused), len(self._gated)
        active = len(self._all) - backing_off - refused - gated
        return {"active": active, "backoff": backing_off, "unschedulable": refused, "gated": gated}

    def set(self, facts: PodFacts, now: float) -> None:
        """A pod that wants a node, new or changed. A changed one is tried again if that could help it."""
        uid = facts.uid
        known = self._all.get(uid)
        if known is None:
            self._all[uid] = Waiting(facts, now)
            self._retry(self._all[uid], now, event_labels.NEW)
            return
        old = known.facts.pod
        changed = _changed(known.facts, facts)
        known.facts = facts
        if not changed:
            return
        what = Happening(Pod, Action.RENEWED, facts.pod, old)
        held = uid in self._gated or (uid in self._where and self._gate(known))
        if held or (uid in self._refused and self._could_now(known, what)):
            self._retry(known, now, event_labels.of_waiting(old, facts.pod))
        elif uid not in self._where and uid not in self._refused:
            known.renewed = what if known.renewed is None else replace(known.renewed, new=facts.pod)

    def remove(self, uid: str) -> None:
        """A pod that wants no node any more; entries in the heaps are passed over later."""
        self._all.pop(uid, None)
        self._refused.pop(uid, None)
        self._gated.pop(uid, None)
        self._where.pop(uid, None)

    def pop(self, now: float) -> Waiting | None:
        """The next pod to be tried, None when none is ready. It stays known until ``remove`` or ``refused``."""
        self._wake_backed_off(now)
        while self._active:
            _, serial, uid = heapq.heappop(self._active)
            if self._where.get(uid) == serial:
                return self._begin(uid, now)
        while self._backing_off:
            _, serial, uid = heapq.heappop(self._backing_off)
            if self._where.get(uid) == serial:
                self.incoming["active", event_labels.EARLY] += 1
                return self._begin(uid, now)
        return None

    def _begin(self, uid: str, now: float) -> Waiting:
        waiting = self._all[uid]
        waiting.attempts += 1
        waiting.tried = now
        waiting.seen = self._changes
        waiting.renewed = None
        del self._where[uid]
        return waiting

    def refused(self, waiting: Waiting, by: frozenset[str]) -> None:
        """Nobody took the pod; it waits for a change."""
        if self._all.get(waiting.uid) is not waiting:
            return
        waiting.refused_by = by
        waiting.flushed = False
        waiting.refusals += 1
        waiting.errors = 0
        if not self._helped_meanwhile(waiting):
            self._refused[waiting.uid] = waiting
            self.incoming["unschedulable", event_labels.FAILURE] += 1
        else:
            self._back_off(waiting, event_labels.FAILURE)

    def failed(self, waiting: Waiting) -> None:
        """The attempt failed for a reason of its own (the API server was away): try again after the back-off."""
        if self._all.get(waiting.uid) is waiting:
            waiting.refused_by = frozenset()
            waiting.errors += 1
            self._back_off(waiting, event_labels.FAILURE)

    def changed(self, what: Happening, now: float, but: str = "") -> None:
        """Something changed: those that it could help are tried again, ``but`` not the pod of this uid."""
        self._changes += 1
        self._recent.append(what)
        if not self._refused and not self._gated:
            return
        hints = self._hints(what)
        event = event_labels.label(what)
        for waiting in list(self._refused.values()):
            if waiting.uid != but and (
                self._is_restless(waiting) or _could_help(what, waiting, waiting.refused_by, hints)
            ):
                self._retry(waiting, now, event)
        for waiting in list(self._gated.values()) if hints else ():
            gates = (name for name, _ in self._gates.get(waiting.profile, ()))
            if _could_help(what, waiting, gates, hints):
                self._retry(waiting, now, event)

    def _helped_meanwhile(self, waiting: Waiting) -> bool:
        """Whether something that came while the pod was tried could help it."""
        missed = self._changes - waiting.seen
        if waiting.renewed is not None and self._could_now(waiting, waiting.renewed):
            return True
        if not missed:
            return False
        if missed > len(self._recent) or self._is_restless(waiting):
            return True
        meanwhile = itertools.islice(reversed(self._recent), missed)
        return any(_could_help(what, waiting, waiting.refused_by, self._hints(what)) for what in meanwhile)

    def _hints(self, what: Happening) -> dict[tuple[str, str], list[Hint]]:
        """By profile and plugin."""
        hints: dict[tuple[str, str], list[Hint]] = {}
        for who, wake in self._wakes:
            if wake.hears(what):
                hints.setdefault(who, []).append(wake.hint)
        return hints

    def _could_now(self, waiting: Waiting, what: Happening) -> bool:
        """Whether its own change could help a pod that was refused."""
        return self._is_restless(waiting) or _could_help(what, waiting, waiting.refused_by, self._hints(what))

    def _is_restless(self, waiting: Waiting) -> bool:
        by = waiting.refused_by
        return not by or any((waiting.profile, name) in self._restless for name in by)

    def activate(self, uid: str, now: float) -> None:
        """Try a refused pod again, whatever happened."""
        if uid in self._refused:
            self._retry(self._refused[uid], now, event_labels.FORCED)

    def flush(self, now: float) -> None:
        """Pods that were refused long ago are tried again, whatever happened since."""
        for waiting in list(self._refused.values()):
            if now - waiting.tried >= self._delays.refused:
                waiting.flushed = True
                self._retry(waiting, now, event_labels.TIMEOUT)

    def next_at(self) -> float | None:
        """When the next back-off ends, None when none is running."""
        return min((heap[0][0] for heap in (self._backing_off, self._erring) if heap), default=None)

    def backoff_ends(self, waiting: Waiting) -> float:
        number = waiting.refusals if waiting.refused_by else waiting.errors
        if not number:
            return 0.0
        delay: float = min(self._delays.first * 2 ** min(number - 1, 30), self._delays.last)
        return waiting.tried + delay

    def _gate(self, waiting: Waiting) -> str:
        """The plugin that keeps a pod from being tried, "" for none."""
        pod = waiting.facts.pod
        return next((name for name, gate in self._gates.get(waiting.profile, ()) if gate(pod)), "")

    def _retry(self, waiting: Waiting, now: float, event: str) -> None:
        self._refused.pop(waiting.uid, None)
        gated = self._gated.pop(waiting.uid, None) is not None
        gate = self._gate(waiting)
        if gate:
            self._where.pop(waiting.uid, None)
            self._gated[waiting.uid] = waiting
            waiting.refused_by = frozenset((gate,))
            if not gated:
                self.incoming["unschedulable", event] += 1
            return
        waiting.ready = waiting.ready or now
        if self.backoff_ends(waiting) > now:
            self._back_off(waiting, event)
        else:
            self._activate(waiting, event)

    def _activate(self, waiting: Waiting, event: str) -> None:
        self.incoming["active", event] += 1
        serial = next(self._serial)
        self._where[waiting.uid] = serial
        heapq.heappush(self._active, (self._sort(waiting.facts, waiting.since), serial, waiting.uid))

    def _back_off(self, waiting: Waiting, event: str) -> None:
        self.incoming["backoff", event] += 1
        serial = next(self._serial)
        self._where[waiting.uid] = serial
        heap = self._backing_off if waiting.refused_by else self._erring
        heapq.heappush(heap, (self.backoff_ends(waiting), serial, waiting.uid))

    def _wake_backed_off(self, now: float) -> None:
        for heap in (self._backing_off, self._erring):
            while heap and heap[0][0] <= now:
                _, serial, uid = heapq.heappop(heap)
                if self._where.get(uid) == serial:
                    self._activate(self._all[uid], event_labels.BACKED_OFF)


def _could_help(
    what: Happening, waiting: Waiting, names: Iterable[str], hints: Mapping[tuple[str, str], list[Hint]]
) -> bool:
    """Whether one of these plugins hears of what happened, and says that it could."""
    who = [(waiting.profile, name) for name in names]
    return any(hint(waiting.facts, what) for one in who for hint in hints.get(one, ()))


def _oldest(_facts: PodFacts, since: float) -> tuple[float]:
    return (since,)


def _changed(old: PodFacts, new: PodFacts) -> bool:
    """Whether a pod changed in what plugins look at; most of its status is what schedulers write themselves."""

    def parts(facts: PodFacts) -> tuple[object, ...]:
        pod, meta = facts.pod, facts.pod.metadata
        return pod.spec, meta.labels, meta.annotations, pod.status.resource_claim_statuses

    return parts(old) != parts(new)
