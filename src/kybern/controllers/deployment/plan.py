"""Which sizes the replica sets of a deployment should have, by its strategy; pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kybern.api.apps_v1 import Deployment, ReplicaSet
from kybern.loop.controller import Failure
from kybern.loop.owners import Claim
from kybern.loop.rollout import Share, fence, proportions
from kybern.machinery.struct import encode, replace

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_OURS = {REVISION, HISTORY, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration"}
_HISTORY_LIMIT = 2000
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class State:
    wanted: Deployment
    claim: Claim[ReplicaSet]
    now: datetime
    # Names of replica sets that are not ours, and so cannot be taken.
    foreign: frozenset[str] = frozenset()
    # Pods that run, by the uid of their replica set; only gathered for Recreate.
    running: Mapping[str, int] = field(default_factory=dict)
    failure: Failure | None = None


def strategy(wanted: Deployment) -> str:
    return (wanted.spec.strategy.type if wanted.spec.strategy is not None else "") or "RollingUpdate"


def limits(wanted: Deployment) -> tuple[int, int]:
    """The pods of maxSurge and maxUnavailable in pods; a recreated deployment has neither."""
    if strategy(wanted) != "RollingUpdate" or replicas(wanted) == 0:
        return 0, 0
    rolling = wanted.spec.strategy.rolling_update if wanted.spec.strategy is not None else None
    if rolling is None:
        return fence("25%", "25%", replicas(wanted))
    surge, unavailable = fence(rolling.max_surge, rolling.max_unavailable, replicas(wanted))
    return surge, min(unavailable, replicas(wanted))


def replicas(one: Deployment | ReplicaSet) -> int:
    return one.spec.replicas or 0


def template_hash(wanted: Deployment) -> str:
    """Letters and digits that make no words; changes with the template and with the number of collisions."""
    seed = encode(wanted.spec.template) + str(wanted.status.collision_count or "").encode()
    number = int.from_bytes(hashlib.sha256(seed).digest()[:4])
    return "".join(_LETTERS[ord(digit) % len(_LETTERS)] for digit in str(number))


def same_template(one: ReplicaSet, wanted: Deployment) -> bool:
    template = one.spec.template
    labels = {key: value for key, value in template.metadata.labels.items() if key != HASH}
    return replace(template, metadata=replace(template.metadata, labels=labels)) == wanted.spec.template


def revision(one: ReplicaSet | Deployment) -> int:
    text = one.metadata.annotations.get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def _age(one: ReplicaSet) -> tuple[datetime, str]:
    return one.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC), one.metadata.name


@dataclass(slots=True)
class Plan:
    """How the replica sets should be: sizes and annotations by name, the new one first to be asked for."""

    state: State
    new: ReplicaSet | None
    old: list[ReplicaSet]
    sizes: dict[str, int] = field(default_factory=dict)
    annotate: set[str] = field(default_factory=set)

    def size(self, one: ReplicaSet) -> int:
        return self.sizes.get(one.metadata.name, replicas(one))

    def scale(self, one: ReplicaSet, size: int) -> None:
        self.sizes[one.metadata.name] = size
        self.annotate.add(one.metadata.name)

    @property
    def all(self) -> list[ReplicaSet]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    def total(self) -> int:
        return sum(self.size(one) for one in self.all)

    def changed(self) -> bool:
        return any(self.size(one) != replicas(one) for one in self.all)


def plan(state: State) -> Plan:
    """Sizes by the strategy; only those, when the deployment is paused or has just been scaled."""
    ours = sorted(state.claim.mine, key=_age)
    new = next((one for one in ours if same_template(one, state.wanted)), None)
    found = Plan(state, new, [one for one in ours if one is not new])
    if state.wanted.metadata.deletion_timestamp is not None:
        return found
    if state.wanted.spec.paused or is_scaled(state.wanted, found):
        rescale(state.wanted, found)
    elif strategy(state.wanted) == "Recreate":
        recreate(state, found)
    elif new is not None:
        roll(state.wanted, found)
    return found


def is_scaled(wanted: Deployment, found: Plan) -> bool:
    """Whether ``spec.replicas`` changed since the replica sets were sized."""
    active = (one for one in found.all if replicas(one) > 0)
    return any(
        one.metadata.annotations.get(DESIRED, str(replicas(wanted))) != str(replicas(wanted))
        for one in active
    )


def rescale(wanted: Deployment, found: Plan) -> None:
    """Follow a change of ``spec.replicas`` without going on with the rollout."""
    active = [one for one in found.all if replicas(one) > 0]
    if len(active) <= 1:
        only = active[0] if active else found.new or (found.old[-1] if found.old else None)
        if only is not None and replicas(only) != replicas(wanted):
            found.scale(only, replicas(wanted))
        elif only is not None:
            found.annotate.add(only.metadata.name)
        return
    if found.new is not None and is_saturated(wanted, found.new):
        for one in found.old:
            if replicas(one) > 0:
                found.scale(one, 0)
        return
    if strategy(wanted) != "RollingUpdate":
        found.annotate.update(one.metadata.name for one in active)
    else:
        _spread(wanted, found, active)


def _spread(wanted: Deployment, found: Plan, active: list[ReplicaSet]) -> None:
    """Give every replica set its share of the change."""
    surge, _ = limits(wanted)
    allowed = replicas(wanted) + surge if replicas(wanted) > 0 else 0
    growing = allowed > sum(map(replicas, active))
    # The largest first; of equal ones the newer when growing, the older when shrinking.
    active.sort(key=_age, reverse=growing)
    active.sort(key=replicas, reverse=True)
    shares = [Share(replicas(one), _whole(one, wanted)) for one in active]
    for one, size in zip(active, proportions(shares, replicas(wanted), surge), strict=True):
        found.scale(one, size)


def _whole(one: ReplicaSet, wanted: Deployment) -> int:
    text = one.metadata.annotations.get(MAXIMUM, "")
    return int(text) if text.isdecimal() and int(text) else wanted.status.replicas or 0


def is_saturated(wanted: Deployment, new: ReplicaSet) -> bool:
    return (
        replicas(new) == replicas(wanted) == (new.status.available_replicas or 0)
        and new.metadata.annotations.get(DESIRED) == str(replicas(wanted))
    )  # fmt: skip


def new_size(wanted: Deployment, found: Plan, now: int) -> int:
    """How large the new replica set may be, given what the others have."""
    if strategy(wanted) != "RollingUpdate":
        return replicas(wanted)
    surge, _ = limits(wanted)
    room = replicas(wanted) + surge - found.total()
    return now + max(min(room, replicas(wanted) - now), 0)


def roll(wanted: Deployment, found: Plan) -> None:
    """One step of a rolling update: first the new one grows (or shrinks), and only when it need not, old ones shrink."""
    new = found.new
    assert new is not None
    size = replicas(wanted) if replicas(new) > replicas(wanted) else new_size(wanted, found, replicas(new))
    if size != replicas(new):
        found.scale(new, size)
        return
    _, unavailable = limits(wanted)
    least = replicas(wanted) - unavailable
    unready = replicas(new) - (new.status.available_replicas or 0)
    budget = found.total() - least - unready
    if budget <= 0:
        return
    for one in found.old:
        # Pods that do not serve anyway go first: no user misses them.
        broken = max(found.size(one) - (one.status.available_replicas or 0), 0)
        gone = min(broken, budget)
        if gone:
            found.scale(one, found.size(one) - gone)
            budget -= gone
    spare = sum(one.status.available_replicas or 0 for one in found.all) - least
    for one in found.old:
        gone = min(found.size(one), max(spare, 0))
        if gone:
            found.scale(one, found.size(one) - gone)
            spare -= gone


def recreate(state: State, found: Plan) -> None:
    """All old pods end before the first new one starts."""
    for one in found.old:
        if replicas(one) > 0:
            found.scale(one, 0)
    if found.changed() or old_pods_run(state, found) or found.new is None:
        return
    if replicas(found.new) != replicas(state.wanted):
        found.scale(found.new, replicas(state.wanted))


def old_pods_run(state: State, found: Plan) -> bool:
    return any(state.running.get(one.metadata.uid, 0) for one in found.old)


def annotations_of(state: State, found: Plan, one: ReplicaSet | None) -> Mapping[str, str]:
    """What the new replica set bears: the deployment's annotations, its revision, and the revisions it was before."""
    wanted = state.wanted
    old = dict(one.metadata.annotations) if one is not None else {}
    result = {**old, **{key: value for key, value in wanted.metadata.annotations.items() if key not in _OURS}}
    newest = max((revision(other) for other in found.old), default=0) + 1
    before = revision(one) if one is not None else 0
    if before < newest:
        result[REVISION] = str(newest)
        if before:
            history = [text for text in old.get(HISTORY, "").split(",") if text]
            result[HISTORY] = ",".join([*history, str(before)])[-_HISTORY_LIMIT:]
    return result


def sized(wanted: Deployment, annotations: Mapping[str, str]) -> Mapping[str, str]:
    surge, _ = limits(wanted)
    return {**annotations, DESIRED: str(replicas(wanted)), MAXIMUM: str(replicas(wanted) + surge)}
