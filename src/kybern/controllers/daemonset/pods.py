"""The pod that a daemon set has on a node, and which nodes should have one; pure."""

from collections.abc import Mapping
from typing import Any

from kybern.api.apps_v1 import DaemonSet
from kybern.api.core_v1 import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    Toleration,
)
from kybern.api.node_selection import selects
from kybern.loop.nodes import keeps_off
from kybern.loop.revisions import LABEL
from kybern.loop.templates import labelled, pod_of, with_spec
from kybern.machinery.struct import replace

GENERATION = "deprecated.daemonset.template.generation"
_FIELD = "metadata.name"
# A daemon stays where others are sent away, for it is often what mends the node.
_BORN: tuple[tuple[str, str], ...] = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_ON_HOST_NETWORK = (("node.kubernetes.io/network-unavailable", "NoSchedule"),)


def tolerations(spec: PodSpec) -> tuple[Toleration, ...]:
    """The template's own and those that every daemon has."""
    wanted = (*_BORN, *(_ON_HOST_NETWORK if spec.host_network else ()))
    added = (Toleration(key=key, operator="Exists", effect=effect) for key, effect in wanted)
    return (*spec.tolerations, *(one for one in added if one not in spec.tolerations))


def bound_to(spec: PodSpec, node: str) -> Affinity:
    """The affinity of the template, for one node only; the scheduler does the rest."""
    only = (NodeSelectorRequirement(key=_FIELD, operator="In", values=(node,)),)
    affinity = spec.affinity or Affinity()
    kinds = affinity.node_affinity or NodeAffinity()
    asked = kinds.required_during_scheduling_ignored_during_execution
    terms = asked.node_selector_terms if asked is not None else ()
    found = tuple(replace(term, match_fields=only) for term in terms) or (
        NodeSelectorTerm(match_fields=only),
    )
    selector = NodeSelector(node_selector_terms=found)
    return replace(
        affinity,
        node_affinity=replace(kinds, required_during_scheduling_ignored_during_execution=selector),
    )


def node_of(pod: Pod) -> str:
    """The node that a daemon's pod is on or is meant for; empty when it does not say."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    asked = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    for term in asked.node_selector_terms if asked is not None else ():
        for one in term.match_fields:
            if one.key == _FIELD and one.operator == "In" and len(one.values) == 1:
                return one.values[0]
    return ""


def new_pod(wanted: DaemonSet, node: str, mark: str, name: str) -> Pod:
    pod = pod_of(wanted, wanted.spec.template, name, f"{wanted.metadata.name}-")
    spec = wanted.spec.template.spec
    pod = with_spec(pod, affinity=bound_to(spec, node), tolerations=tolerations(spec))
    return labelled(pod, labels=marks(wanted, mark))


def marks(wanted: DaemonSet, mark: str) -> Mapping[str, str]:
    generation = wanted.metadata.annotations.get(GENERATION, "")
    labels: dict[str, Any] = {"pod-template-generation": generation} if generation.isdecimal() else {}
    return {**labels, LABEL: mark}


def should_run(wanted: DaemonSet, node: Node) -> tuple[bool, bool]:
    """Whether a pod is to be made on a node, and whether one that is there may stay."""
    spec = wanted.spec.template.spec
    if spec.node_name and spec.node_name != node.metadata.name:
        return False, False
    if not selects(spec, node):
        return False, False
    if not node.spec.taints:
        # Nearly all nodes of a large cluster, each looked at for every pod that changes.
        return True, True
    borne = tolerations(spec)
    stays = not keeps_off(node, borne, "NoExecute")
    return stays and not keeps_off(node, borne, "NoSchedule"), stays
