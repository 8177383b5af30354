"""Clusters and pods as hypothesis makes them up, small enough that every rule meets every other."""

import itertools
from dataclasses import dataclass

from hypothesis import strategies as st

from kybern.api.core_v1 import (
    Affinity,
    ContainerImage,
    Namespace,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    Service,
    ServiceSpec,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from kybern.api.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Cluster, NodeInfo
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.table import Table
from tests.unit.scheduler.making import bears, node, pod, taint

KEYS = st.sampled_from(["zone", "disk", "cores"])
VALUES = st.sampled_from(["a", "b", "3", "12"])
EFFECTS = st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"])
IMAGE = ContainerImage(names=("busybox:latest", "busybox@sha256:0"), size_bytes=900 << 20)
NODES = st.builds(
    node,
    st.sampled_from([f"w{number}" for number in range(6)]),
    cpu=st.sampled_from(["1", "2", "500m"]),
    pods=st.sampled_from(["0", "2", "110"]),
    labels=st.dictionaries(KEYS, VALUES, max_size=3),
    taints=st.lists(st.builds(taint, KEYS, EFFECTS, VALUES), max_size=2),
    cordoned=st.booleans(),
    images=st.sampled_from([(), (), (IMAGE,)]),
)
REQUIREMENTS = st.builds(
    lambda key, operator, values: NodeSelectorRequirement(
        key=key, operator=operator, values=tuple(values) if "In" in operator else tuple(values[:1])
    ),
    KEYS,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
    st.lists(VALUES, min_size=1, max_size=2),
)
LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"]), max_size=2)
SELECTORS = st.one_of(
    st.none(),
    st.builds(lambda labels: LabelSelector(match_labels=labels), LABELS),
    st.builds(
        lambda operator: LabelSelector(
            match_expressions=(
                LabelSelectorRequirement(
                    key="app", operator=operator, values=("x",) if "In" in operator else ()
                ),
            )
        ),
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    ),
)
TOPOLOGIES = st.sampled_from(["zone", "disk", "kubernetes.io/hostname"])
CONSTRAINTS = st.builds(
    lambda key, skew, action, labels, *more: TopologySpreadConstraint(
        topology_key=key,
        max_skew=skew,
        when_unsatisfiable=action,
        label_selector=labels,
        match_label_keys=more[0],
        min_domains=more[1] if action == "DoNotSchedule" else None,
        node_affinity_policy=more[2],
        node_taints_policy=more[3],
    ),
    TOPOLOGIES,
    st.integers(1, 3),
    st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    SELECTORS,
    st.sampled_from([(), ("tier",)]),
    st.sampled_from([None, 1, 2, 4]),
    st.sampled_from(["", "Honor", "Ignore"]),
    st.sampled_from(["", "Honor", "Ignore"]),
)


def affinity_of(terms: list[list[NodeSelectorRequirement]]) -> Affinity | None:
    if not terms:
        return None
    selector = NodeSelector(
        node_selector_terms=tuple(NodeSelectorTerm(match_expressions=tuple(one)) for one in terms)
    )
    return Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=selector))


TERMS = st.builds(
    lambda key, labels, namespaces, chosen: PodAffinityTerm(
        topology_key=key, label_selector=labels, namespaces=namespaces, namespace_selector=chosen
    ),
    TOPOLOGIES,
    SELECTORS,
    st.sampled_from([(), (), ("default",), ("other",)]),
    st.sampled_from([None, None, LabelSelector(), LabelSelector(match_labels={"team": "x"})]),
)


def together(
    nodes: Affinity | None,
    needs: list[PodAffinityTerm],
    refuses: list[PodAffinityTerm],
    likes: list[tuple[PodAffinityTerm, int]],
    dislikes: list[tuple[PodAffinityTerm, int]],
) -> Affinity:
    def weighed(terms: list[tuple[PodAffinityTerm, int]]) -> tuple[WeightedPodAffinityTerm, ...]:
        return tuple(WeightedPodAffinityTerm(pod_affinity_term=one, weight=weight) for one, weight in terms)

    return Affinity(
        node_affinity=nodes.node_affinity if nodes else None,
        pod_affinity=PodAffinity(
            required_during_scheduling_ignored_during_execution=tuple(needs),
            preferred_during_scheduling_ignored_during_execution=weighed(likes),
        ),
        pod_anti_affinity=PodAntiAffinity(
            required_during_scheduling_ignored_during_execution=tuple(refuses),
            preferred_during_scheduling_ignored_during_execution=weighed(dislikes),
        ),
    )


PODS = st.builds(
    lambda number, labels, namespace, leaving, **spec: pod(
        f"p{number}", labels=labels, namespace=namespace, leaving=leaving, **spec
    ),
    st.integers(0, 20),
    LABELS,
    st.sampled_from(["default", "default", "other"]),
    st.sampled_from([False, False, False, True]),
    cpu=st.sampled_from(["", "100m", "700m", "2"]),
    ports=st.lists(st.sampled_from([80, 443]), max_size=2, unique=True).map(tuple),
    node_selector=st.dictionaries(KEYS, VALUES, max_size=1),
    tolerations=st.lists(
        st.builds(bears, KEYS, st.sampled_from(["Exists", "Equal"]), VALUES, EFFECTS), max_size=2
    ).map(tuple),
    affinity=st.builds(
        lambda nodes, needs, refuses, *likes: together(affinity_of(nodes), needs, refuses, *likes),
        st.lists(st.lists(REQUIREMENTS, max_size=2), max_size=2),
        st.lists(TERMS, max_size=2),
        st.lists(TERMS, max_size=1),
        st.lists(st.tuples(TERMS, st.integers(1, 100)), max_size=1),
        st.lists(st.tuples(TERMS, st.integers(1, 100)), max_size=1),
    ),
    topology_spread_constraints=st.lists(CONSTRAINTS, max_size=2).map(tuple),
)


LIKE = tuple(PodFacts.of(pod("like", cpu=cpu)) for cpu in ("", "100m", "700m", "2"))


def ask(table: Table) -> None:
    """Let pods that are like those to come be looked at: what is kept of that has to follow the changes afterwards."""
    for plugin, facts in itertools.product(PLUGINS, LIKE):
        if plugin.filter is not None:
            tuple(plugin.filter(facts, table))
        if plugin.score is not None:
            plugin.score(facts, table, table.valid)


@dataclass
class Made:
    """The same cluster in both forms."""

    table: Table
    cluster: Cluster


def made(nodes: list[Node], placed: list[tuple[Pod, int]], services: list[dict[str, str]]) -> Made:
    """Nodes that come twice are changed, and pods that come twice are moved."""
    table = Table(columns=2)
    there: dict[str, Node] = {}
    on: dict[str, tuple[Pod, str]] = {}
    for number, one in enumerate(nodes):
        table.set_node(one)
        there[one.metadata.name] = one
        ask(table)
        for guest, where in placed[number :: len(nodes)]:
            table.place(guest.metadata.uid, f"w{where}", PodFacts.of(guest))
            on[guest.metadata.uid] = (guest, f"w{where}")
    table.set_object(Namespace(metadata=ObjectMeta(name="other", labels={"team": "x"})))
    for number, chosen in enumerate(services):
        meta = ObjectMeta(namespace="default", name=f"s{number}")
        table.objects.set(Service(metadata=meta, spec=ServiceSpec(selector=chosen)))
    infos = (
        NodeInfo(one, tuple(guest for guest, where in on.values() if where == name))
        for name, one in there.items()
    )
    return Made(table, Cluster(tuple(infos), table.objects))


CLUSTERS = st.builds(
    made,
    st.lists(NODES, min_size=1, max_size=8),
    st.lists(st.tuples(PODS, st.integers(0, 5)), max_size=8),
    st.lists(LABELS, max_size=1),
)
