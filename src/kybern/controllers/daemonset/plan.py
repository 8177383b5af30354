"""Which pods of a daemon set are to be made and which are to go; pure.

First every node gets what it lacks and loses what it should not have (*manage*); only when nothing is left of that does
a rolling update go on (*roll*), as far as maxUnavailable or maxSurge allow.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kybern.api.apps_v1 import ControllerRevision, DaemonSet
from kybern.api.core_v1 import Pod
from kybern.loop.controller import Failure
from kybern.loop.owners import Claim
from kybern.loop.pods import available_in, is_ready
from kybern.loop.revisions import LABEL, History
from kybern.loop.rollout import scaled

_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """A node: whether a pod is to be made there, whether one may stay, and those that are there, oldest first."""

    name: str
    runs: bool
    stays: bool
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class State:
    wanted: DaemonSet
    claim: Claim[Pod]
    revisions: Claim[ControllerRevision]
    history: History
    places: tuple[Place, ...]
    # Pods meant for nodes that are gone, which nobody will ever place.
    lost: tuple[Pod, ...]
    now: datetime
    # The hash of the template, or of the revision that has it.
    mark: str
    # Seconds that failed pods stay, by uid: those that fail again and again are not replaced at once.
    held: Mapping[str, float] = field(default_factory=dict)
    taken: bool = False
    failure: Failure | None = None

    def is_available(self, pod: Pod) -> bool:
        return available_in(pod, self.wanted.spec.min_ready_seconds or 0, self.now) == 0

    def is_updated(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(LABEL) in {self.mark, *self.history.marks}


@dataclass(slots=True)
class Plan:
    """Nodes that get a pod, and pods that go. ``told`` are failed and succeeded pods, with their nodes."""

    create: list[str] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    told: list[tuple[Pod, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.create or self.delete)


def age(pod: Pod) -> tuple[bool, datetime, str]:
    """Placed pods first, then the oldest."""
    return not pod.spec.node_name, pod.metadata.creation_timestamp or _LAST, pod.metadata.name


def rolling(wanted: DaemonSet) -> bool:
    strategy = wanted.spec.update_strategy
    return strategy is None or strategy.type in {"", "RollingUpdate"}


def limits(wanted: DaemonSet, desired: int) -> tuple[int, int]:
    """MaxSurge and maxUnavailable in pods; one of them allows something."""
    strategy = wanted.spec.update_strategy
    given = strategy.rolling_update if strategy is not None else None
    if given is None:
        return 0, 1
    surge = scaled(given.max_surge, desired, up=True)
    unavailable = scaled(given.max_unavailable, desired, up=True)
    return surge, 1 if surge == 0 and unavailable == 0 else unavailable


def surges(wanted: DaemonSet) -> bool:
    strategy = wanted.spec.update_strategy
    given = strategy.rolling_update if strategy is not None else None
    return rolling(wanted) and given is not None and given.max_surge not in {None, 0, "0%"}


def plan(state: State) -> Plan:
    found = manage(state)
    if found or not rolling(state.wanted):
        return found
    desired = sum(place.runs for place in state.places)
    surge, unavailable = limits(state.wanted, desired)
    return _surge(state, surge) if surge else _replace(state, unavailable)


def manage(state: State) -> Plan:
    found = Plan(delete=list(state.lost))
    for place in state.places:
        if place.runs and not place.pods:
            found.create.append(place.name)
        elif place.stays:
            _prune(state, place, found)
        else:
            found.delete += [pod for pod in place.pods if pod.metadata.deletion_timestamp is None]
    return found


def _prune(state: State, place: Place, found: Plan) -> None:
    """Finished pods go, and those that are too many."""
    alive = [pod for pod in place.pods if pod.metadata.deletion_timestamp is None]
    running = [pod for pod in alive if pod.status.phase not in {"Failed", "Succeeded"}]
    for pod in alive:
        if pod not in running and not state.held.get(pod.metadata.uid):
            found.told.append((pod, place.name))
            found.delete.append(pod)
    if not surges(state.wanted):
        found.delete += running[1:]
    elif not running and place.runs and not alive:
        found.create.append(place.name)
    elif len(running) > 1:
        found.delete += _crowd(state, running)


def _crowd(state: State, running: list[Pod]) -> Iterable[Pod]:
    """With surge a node has two only while the old one serves and the new one does not yet."""
    new = next((pod for pod in running if state.is_updated(pod)), None)
    old = next((pod for pod in running if not state.is_updated(pod)), None)
    for pod in running:
        if pod is not new and pod is not old:
            yield pod
    if new is not None and old is not None and (not is_ready(old) or state.is_available(new)):
        yield old


def _pair(state: State, place: Place) -> tuple[Pod | None, Pod | None] | None:
    """The new and the old pod of a node; None when it has more than one of either."""
    new = [pod for pod in place.pods if state.is_updated(pod)]
    old = [pod for pod in place.pods if not state.is_updated(pod)]
    if len(new) > 1 or len(old) > 1:
        return None
    return new[0] if new else None, old[0] if old else None


def _replace(state: State, allowed: int) -> Plan:
    """Delete old pods, those first that do not serve anyway."""
    down, broken, serving = 0, [], []
    for place in state.places:
        if not (place.pods or place.runs):
            continue
        pair = _pair(state, place)
        new, old = pair if pair is not None else (None, None)
        if old is not None and new is None:
            if state.is_available(old):
                serving.append(old)
                continue
            if old.metadata.deletion_timestamp is None:
                broken.append(old)
        elif new is not None and old is None and state.is_available(new):
            continue
        down += 1
    return Plan(delete=broken + serving[: max(allowed - down, 0)])


def _surge(state: State, allowed: int) -> Plan:
    """Put new pods beside old ones; the old ones go when the new ones serve (see ``_crowd``)."""
    used, broken, serving = 0, [], []
    for place in state.places:
        pair = _pair(state, place)
        if pair is None:
            used += 1
            continue
        new, old = pair
        if old is None:
            continue
        if new is not None:
            used += not state.is_available(new)
        elif state.is_available(old):
            serving.append(place.name)
        elif place.runs:
            broken.append(place.name)
    return Plan(create=broken + serving[: max(allowed - used, 0)])
