"""Topology spread constraints, ready to count with: a pod's own, or those that are the default for it. Pure.

A default constraint means the pods of the same workload: those that the services which select the pod, and the replica set
(or the like) that controls it, select together. A pod of no workload has no default constraints
(component-helpers: plugins/helper/spread.go).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kybern.api.apps_v1 import ReplicaSet, StatefulSet
from kybern.api.core_v1 import Pod, ReplicationController, Service, TopologySpreadConstraint
from kybern.loop.owners import controller_of
from kybern.machinery.selectors import NOTHING, LabelSelector, Requirement, of_labels
from kybern.scheduler.groups import Group, selector
from kybern.scheduler.objects import Objects

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
HARD, SOFT = "DoNotSchedule", "ScheduleAnyway"
HONOR = "Honor"


@dataclass(frozen=True, slots=True)
class Constraint:
    """``honours_affinity``/``honours_taints``: nodes that the pod's own terms or their taints rule out are no domains."""

    topology_key: str
    max_skew: int
    group: Group
    min_domains: int = 1
    honours_affinity: bool = True
    honours_taints: bool = False

    @property
    def counts_nobody(self) -> bool:
        """An empty selector counts no pods, though it matches the pod itself (upstream: countPodsMatchSelector)."""
        return self.group.selector.everything


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for pods without constraints; ``system`` are upstream's own, which nodes without a zone do not break."""

    constraints: tuple[TopologySpreadConstraint, ...] = (
        TopologySpreadConstraint(max_skew=3, topology_key=HOSTNAME, when_unsatisfiable=SOFT),
        TopologySpreadConstraint(max_skew=5, topology_key=ZONE, when_unsatisfiable=SOFT),
    )
    system: bool = True


def constraints(pod: Pod, kind: str, defaults: Defaults, objects: Objects | None) -> tuple[Constraint, ...]:
    """Those of a kind, HARD or SOFT. Without ``objects`` only the pod's own."""
    given = pod.spec.topology_spread_constraints
    if given:
        return tuple(_of(one, pod) for one in given if one.when_unsatisfiable == kind)
    usual = [one for one in defaults.constraints if one.when_unsatisfiable == kind]
    if not usual or objects is None:
        return ()
    fellows = of_workload(pod, objects)
    if fellows.everything:
        return ()
    return tuple(_of(one, pod, fellows) for one in usual)


def _of(given: TopologySpreadConstraint, pod: Pod, fellows: LabelSelector | None = None) -> Constraint:
    chosen = fellows if fellows is not None else _with_keys(given, pod)
    return Constraint(
        given.topology_key,
        given.max_skew or 1,
        Group(frozenset((pod.metadata.namespace,)), chosen, leaving=False),
        given.min_domains or 1,
        (given.node_affinity_policy or HONOR) == HONOR,
        given.node_taints_policy == HONOR,
    )


def _with_keys(given: TopologySpreadConstraint, pod: Pod) -> LabelSelector:
    """The selector, and the pod's own values of ``matchLabelKeys``."""
    chosen = selector(given.label_selector)
    labels = pod.metadata.labels
    own = tuple(Requirement(key, "=", (labels[key],)) for key in given.match_label_keys if key in labels)
    if chosen.nothing or not own:
        return chosen
    return LabelSelector((*own, *chosen.requirements))


def of_workload(pod: Pod, objects: Objects) -> LabelSelector:
    """What selects the pod together with its fellows; everything when nothing does."""
    return LabelSelector(tuple(_requirements(pod, objects)))


def _requirements(pod: Pod, objects: Objects) -> Iterator[Requirement]:
    for service in objects.within(Service, pod.metadata.namespace):
        chosen = of_labels(service.spec.selector)
        if not chosen.nothing and chosen.matches(pod.metadata.labels):
            yield from chosen.requirements
    yield from _of_owner(pod, objects).requirements


def _of_owner(pod: Pod, objects: Objects) -> LabelSelector:
    """What the pod's controller selects; nothing when it is of another kind."""
    owner = controller_of(pod)
    if owner is None:
        return NOTHING
    namespace = pod.metadata.namespace
    match owner.api_version, owner.kind:
        case "v1", "ReplicationController":
            controller = objects.get(ReplicationController, owner.name, namespace)
            return of_labels(controller.spec.selector) if controller is not None else NOTHING
        case "apps/v1", "ReplicaSet":
            replicas = objects.get(ReplicaSet, owner.name, namespace)
            return selector(replicas.spec.selector) if replicas is not None else NOTHING
        case "apps/v1", "StatefulSet":
            stateful = objects.get(StatefulSet, owner.name, namespace)
            return selector(stateful.spec.selector) if stateful is not None else NOTHING
    return NOTHING
