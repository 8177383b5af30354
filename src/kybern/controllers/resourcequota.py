"""Count what namespaces hold, into the status of their ResourceQuotas.

Reads ResourceQuota and what they can count. Writes ResourceQuota.status. The API server charges every write at once; this
takes away what is gone, and starts the count of a new quota: until then the server refuses what the quota bounds.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
from kybern.api.quota import in_scopes, usage
from kybern.loop.controller import Action, Controller, Key, PatchStatus, View
from kybern.loop.settings import Settings
from kybern.machinery.quantity import parse
from kybern.machinery.struct import Object, replace

COUNTED: tuple[type[Object], ...] = (
    Pod, Service, PersistentVolumeClaim, ConfigMap, Secret, ReplicationController, ResourceQuota, Deployment, ReplicaSet,
    StatefulSet, DaemonSet, Job, CronJob, Ingress,
)  # fmt: skip
RESYNC = 300.0
ZERO = parse("0")


@dataclass(frozen=True, slots=True)
class State:
    """``held`` are the namespace's objects of the kinds that this quota bounds."""

    quota: ResourceQuota
    held: tuple[Object, ...]


def group_of(kind: type[Object]) -> str:
    return kind.api_version.rpartition("/")[0]


def bounds(kind: type[Object], hard: Mapping[str, str]) -> bool:
    """Whether a quota of these bounds counts anything of a kind."""
    group, plural = group_of(kind), kind.plural
    if f"count/{plural}.{group}" in hard or (not group and f"count/{plural}" in hard):
        return True
    if group:
        return False
    if plural == "pods":
        return any(not name.startswith("count/") and not _is_of_others(name) for name in hard)
    if plural == "persistentvolumeclaims":
        return any(name.endswith(("persistentvolumeclaims", "requests.storage")) for name in hard)
    return any(name == plural or name.startswith(f"{plural}.") for name in hard)


def _is_of_others(name: str) -> bool:
    others = tuple(kind.plural for kind in COUNTED if kind is not Pod)
    return name.startswith(others) or "storageclass" in name or name == "requests.storage"


def observe(view: View, key: Key) -> State | None:
    quota = view.get(ResourceQuota, key.namespace, key.name)
    if quota is None:
        return None
    kinds = [kind for kind in COUNTED if bounds(kind, quota.spec.hard)]
    return State(quota, tuple(one for kind in kinds for one in view.list(kind, key.namespace)))


def diff(state: State) -> Iterable[Action]:
    """What is bounded and cannot be counted here, such as custom objects, keeps its count, from zero on."""
    quota = state.quota
    known = {name for name in quota.spec.hard if any(bounds(kind, {name: ""}) for kind in COUNTED)}
    counted = _counted(state)
    used = {
        name: str(counted.get(name, ZERO)) if name in known else quota.status.used.get(name, "0")
        for name in quota.spec.hard
    }
    status = ResourceQuotaStatus(hard=dict(quota.spec.hard), used=used)
    if not _same(status.hard, quota.status.hard) or not _same(status.used, quota.status.used):
        yield PatchStatus(quota, replace(quota, status=status))


def _counted(state: State) -> Amounts:
    scopes: dict[str, Any] = msgspec.to_builtins(state.quota.spec)
    total: Amounts = {}
    for one in state.held:
        group, raw = group_of(type(one)), msgspec.to_builtins(one)
        if in_scopes(scopes, group, one.plural, raw):
            for name, amount in usage(group, one.plural, raw).items():
                total[name] = total[name] + amount if name in total else amount
    return total


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


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "resourcequota-controller",
        ResourceQuota,
        observe,
        diff,
        watches=tuple((kind, quotas_of(kind)) for kind in COUNTED),
        every=RESYNC,
        component="resourcequota-controller",
    )
