"""Count what namespaces hold, into the status of their ResourceQuotas.

Reads ResourceQuota and what they can count. Writes ResourceQuota.status. The API server charges every write at once; this
takes away what is gone, and starts the count of a new quota: until then the server refuses what the quota bounds.

The server charges before it stores, so a count may be below the charge only because an object is on its way. ``Excess``
therefore remembers by how much a charge was too high at the least in the last seconds; only so much is taken away.

What an object counts for is worked out once for each of its versions that may count otherwise, and namespaces that hold
much are counted at most once a second: pods that start and end by the thousand must not be counted by the thousand each
time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from kybern.api.apps_v1 import DaemonSet, Deployment, ReplicaSet, StatefulSet
from kybern.api.asked import Amounts
from kybern.api.batch_v1 import CronJob, Job
from kybern.api.core_v1 import (
    ConfigMap,
    PersistentVolumeClaim,
    Pod,
    ReplicationController,
    ResourceQuota,
    ResourceQuotaStatus,
    Secret,
    Service,
)
from kybern.api.networking_v1 import Ingress
from kybern.api.quota import DEVICES, in_scopes, usage
from kybern.api.resource_v1 import ResourceClaim
from kybern.loop.controller import Action, Again, Controller, Key, PatchStatus, View, WhenChanged
from kybern.loop.pods import is_terminal
from kybern.loop.settings import Settings
from kybern.machinery.quantity import Quantity, parse
from kybern.machinery.struct import Object, replace

COUNTED: tuple[type[Object], ...] = (
    Pod, Service, PersistentVolumeClaim, ConfigMap, Secret, ReplicationController, ResourceQuota, Deployment, ReplicaSet,
    StatefulSet, DaemonSet, Job, CronJob, Ingress, ResourceClaim,
)  # fmt: skip
RESYNC = 300.0
SETTLED = timedelta(seconds=3)
"""Longer than a write takes between its charge and its coming here."""
MANY = 500
"""Objects that are counted at once without a thought."""
PAUSE = timedelta(seconds=1)
ZERO = parse("0")

type Weigh = Callable[[Mapping[str, Any], Object], Amounts]


@dataclass(frozen=True, slots=True)
class State:
    """A quota and what it should say: ``counted`` is what there is, ``gone`` what may be taken from the charges."""

    quota: ResourceQuota
    counted: Amounts
    gone: Amounts
    waiting: bool


@dataclass(frozen=True, slots=True)
class Early:
    """It was counted a moment ago; so many seconds are left."""

    left: float


@dataclass(slots=True)
class Excess:
    """By how much charges were above counts at the least, since when; by quota and resource."""

    _least: dict[tuple[Key, str], tuple[datetime, Quantity]] = field(default_factory=dict)

    def settle(self, key: Key, quota: ResourceQuota, counted: Amounts, now: datetime) -> tuple[Amounts, bool]:
        """What may be taken away by now, and whether there is more to wait for."""
        gone: Amounts = {}
        waiting = False
        for name in quota.spec.hard:
            above = parse(quota.status.used.get(name, "0")) - counted.get(name, ZERO)
            if above <= ZERO:
                self._least.pop((key, name), None)
                continue
            since, least = self._least.get((key, name), (now, above))
            least = min(least, above)
            if now - since >= SETTLED:
                gone[name] = least
                since, least = now, above - least
            self._least[key, name] = since, least
            waiting = waiting or least > ZERO
        return gone, waiting

    def forget(self, key: Key) -> None:
        self._least = {known: value for known, value in self._least.items() if known[0] != key}


def group_of(kind: type[Object]) -> str:
    return kind.api_version.rpartition("/")[0]


def bounds(kind: type[Object], hard: Mapping[str, str]) -> bool:
    """Whether a quota of these bounds counts anything of a kind."""
    group, plural = group_of(kind), kind.plural
    if f"count/{plural}.{group}" in hard or (not group and f"count/{plural}" in hard):
        return True
    if kind is ResourceClaim:
        return any(name.endswith(DEVICES) for name in hard)
    if group:
        return False
    if plural == "pods":
        return any(not name.startswith("count/") and not _is_of_others(name) for name in hard)
    if plural == "persistentvolumeclaims":
        return any(name.endswith(("persistentvolumeclaims", "requests.storage")) for name in hard)
    return any(name == plural or name.startswith(f"{plural}.") for name in hard)


def _is_of_others(name: str) -> bool:
    others = tuple(kind.plural for kind in COUNTED if kind is not Pod)
    return (
        name.startswith(others)
        or "storageclass" in name
        or name == "requests.storage"
        or name.endswith(DEVICES)
    )


def part(one: Any) -> tuple[object, ...]:
    """What of an object its count depends on."""
    if isinstance(one, Pod):
        return one.spec, is_terminal(one)
    if isinstance(one, PersistentVolumeClaim):
        status = one.status
        classes = status.current_volume_attributes_class_name, status.modify_volume_status
        return one.spec, status.allocated_resources, *classes
    return (one.spec,) if isinstance(one, Service | ResourceClaim) else ()


@dataclass(slots=True)
class Known:
    """What objects of one quota count for, from the last count."""

    scopes: object = None
    at: datetime | None = None
    amounts: dict[str, tuple[Object, Amounts]] = field(default_factory=dict)

    def left(self, now: datetime) -> float:
        """Seconds until it may be counted again."""
        if self.at is None or len(self.amounts) <= MANY:
            return 0.0
        return max(0.0, (self.at + PAUSE - now).total_seconds())

    def begin(self, quota: ResourceQuota, now: datetime) -> Weigh:
        """What weighs the objects of a new count."""
        before = self.amounts if self.scopes == _scopes(quota) else {}
        self.scopes, self.at, self.amounts = _scopes(quota), now, {}

        def weigh(spec: Mapping[str, Any], one: Any) -> Amounts:
            uid = one.metadata.uid
            old = before.get(uid)
            same = old is not None and (old[0] is one or part(old[0]) == part(one))
            amounts = old[1] if old is not None and same else weighed(spec, one)
            self.amounts[uid] = one, amounts
            return amounts

        return weigh


def _scopes(quota: ResourceQuota) -> object:
    return quota.spec.scopes, quota.spec.scope_selector


def observing() -> Callable[[View, Key], State | Early | None]:
    excess = Excess()
    known: defaultdict[Key, Known] = defaultdict(Known)

    def observe(view: View, key: Key) -> State | Early | None:
        quota = view.get(ResourceQuota, key.namespace, key.name)
        if quota is None:
            excess.forget(key)
            known.pop(key, None)
            return None
        before, fresh = known[key], _same(quota.spec.hard, quota.status.hard)
        if fresh and (left := before.left(view.now)):
            return Early(left)
        kinds = [kind for kind in COUNTED if bounds(kind, quota.spec.hard)]
        held = (one for kind in kinds for one in view.list(kind, key.namespace))
        counted = count(quota, held, before.begin(quota, view.now))
        gone, waiting = excess.settle(key, quota, counted, view.now)
        return State(quota, counted, gone, waiting)

    return observe


def weighed(spec: Mapping[str, Any], one: Object) -> Amounts:
    """What an object counts for in a quota of this spec."""
    group, raw = group_of(type(one)), msgspec.to_builtins(one)
    return usage(group, one.plural, raw) if in_scopes(dict(spec), group, one.plural, raw) else {}


def count(quota: ResourceQuota, held: Iterable[Object], weigh: Weigh = weighed) -> Amounts:
    """What objects count for. What cannot be counted here, such as custom objects, stays as it was charged."""
    total: Amounts = {}
    for name in quota.spec.hard:
        known = any(bounds(kind, {name: ""}) for kind in COUNTED)
        total[name] = ZERO if known else parse(quota.status.used.get(name, "0"))
    spec: dict[str, Any] = msgspec.to_builtins(quota.spec)
    for one in held:
        for name, amount in weigh(spec, one).items():
            if name in total:
                total[name] += amount
    return total


def diff(state: State | Early) -> Iterable[Action]:
    if isinstance(state, Early):
        yield Again(state.left)
        return
    quota = state.quota
    used = {}
    for name in quota.spec.hard:
        charged = parse(quota.status.used.get(name, "0")) - state.gone.get(name, ZERO)
        used[name] = str(max(charged, state.counted.get(name, ZERO)))
    status = ResourceQuotaStatus(hard=dict(quota.spec.hard), used=used)
    if not _same(status.hard, quota.status.hard) or not _same(status.used, quota.status.used):
        yield PatchStatus(quota, replace(quota, status=status))
    if state.waiting:
        yield Again(SETTLED.total_seconds())


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return one.keys() == other.keys() and all(parse(one[key]) == parse(other[key]) for key in one)


def quotas_of(kind: type[Object]) -> Callable[[Any, View], Iterable[Key]]:
    """Wakes the quotas of an object's namespace that bound its kind."""

    def wake(changed: Any, view: View) -> Iterable[Key]:
        namespace = changed.metadata.namespace
        for quota in view.list(ResourceQuota, namespace):
            if bounds(kind, quota.spec.hard):
                yield Key(namespace, quota.metadata.name)

    return wake


def controller(_settings: Settings) -> Controller[State | Early]:
    return Controller(
        "resourcequota-controller",
        ResourceQuota,
        observing(),
        diff,
        watches=tuple((kind, WhenChanged(part, quotas_of(kind))) for kind in COUNTED),
        every=RESYNC,
        component="resourcequota-controller",
    )
