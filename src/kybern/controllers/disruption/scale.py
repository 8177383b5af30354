"""How many pods the owners of a budget's pods ask for.

A share of all pods is a share of what their controllers ask for together, not of the pods that there are. What is known
of kinds is read from the cache; any other owner, custom ones too, is asked for its scale.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kybern.api.apps_v1 import Deployment, ReplicaSet, StatefulSet
from kybern.api.core_v1 import Pod, ReplicationController
from kybern.api.meta_v1 import OwnerReference
from kybern.api.policy_v1 import PodDisruptionBudget
from kybern.loop.controller import View
from kybern.loop.owners import controller_of

_KINDS: Mapping[tuple[str, str], type[Any]] = MappingProxyType({
    ("", "ReplicationController"): ReplicationController,
    ("apps", "StatefulSet"): StatefulSet,
    ("apps", "ReplicaSet"): ReplicaSet,
    ("apps", "Deployment"): Deployment,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scales:
    """``expected`` pods; names of pods that nobody controls; why the number cannot be told, if it cannot."""

    expected: int = 0
    unmanaged: tuple[str, ...] = ()
    problem: str = ""


def counts_owners(budget: PodDisruptionBudget) -> bool:
    """Whether the number of pods that are wanted matters, and not only that of those there are."""
    return budget.spec.max_unavailable is not None or isinstance(budget.spec.min_available, str)


def scales_of(view: View, budget: PodDisruptionBudget, pods: Iterable[Pod]) -> Scales:
    if not counts_owners(budget):
        return Scales(len(tuple(pods)))
    found: dict[str, int] = {}
    unmanaged = []
    for pod in pods:
        owner = controller_of(pod)
        if owner is None:
            unmanaged.append(pod.metadata.name)
        elif owner.uid not in found:
            scale = _scale(view, pod.metadata.namespace, owner)
            if scale is None:
                return Scales(problem=f'found no controllers for pod "{pod.metadata.name}"')
            if isinstance(scale, str):
                return Scales(problem=scale)
            found.update((scale,))
    return Scales(sum(found.values()), tuple(unmanaged))


def _group_kind(owner: OwnerReference) -> tuple[str, str]:
    return owner.api_version.rpartition("/")[0], owner.kind


def _scale(view: View, namespace: str, owner: OwnerReference) -> tuple[str, int] | str | None:
    """Whose pods they are in the end, and how many it wants; None when it is not there; or what is wrong."""
    kind = _KINDS.get(_group_kind(owner))
    if kind is None:
        return _asked(view, namespace, owner)
    found = _same(view.get, kind, namespace, owner)
    if found is None:
        return _asked(view, namespace, owner)
    above = controller_of(found)
    if kind is ReplicaSet and above is not None and above.kind == "Deployment":
        deployment = _same(view.get, Deployment, namespace, above)
        # Once the deployment is gone its replica set is asked, as any owner that no cache knows.
        return _asked(view, namespace, owner) if deployment is None else _sized(deployment)
    return _sized(found)


def _same(
    get: Callable[[type[Any], str, str], Any], kind: type[Any], namespace: str, owner: OwnerReference
) -> Any | None:
    found = get(kind, namespace, owner.name)
    return found if found is not None and found.metadata.uid == owner.uid else None


def _sized(found: Any) -> tuple[str, int]:
    return found.metadata.uid, found.spec.replicas if found.spec.replicas is not None else 1


def _asked(view: View, namespace: str, owner: OwnerReference) -> tuple[str, int] | str | None:
    scale = view.scale(owner.api_version, owner.kind, namespace, owner.name)
    if scale is None or isinstance(scale, str):
        return scale
    if scale.metadata.uid != owner.uid:
        return None
    return scale.metadata.uid, scale.spec.replicas or 0
