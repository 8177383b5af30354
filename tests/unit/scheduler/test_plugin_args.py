"""Plugins made of the arguments of a profile: what they do then, as their plain forms do it, and what is refused."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.api.core_v1 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PreferredSchedulingTerm,
    Service,
    ServiceSpec,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import BadArgs, Plugin
from kybern.scheduler.outcomes import Placed, Refused
from kybern.scheduler.plugins import PLUGINS, balanced_allocation, node_affinity, node_resources_fit
from kybern.scheduler.plugins.node_resources_fit import Fit
from kybern.scheduler.profile import Profile
from kybern.scheduler.shapes import Point
from tests.unit.scheduler.generated import CLUSTERS, PODS, REQUIREMENTS, Made
from tests.unit.scheduler.making import decide, node, pod, table_of
from tests.unit.scheduler.plainly import Plain, balanced, resources_fit
from tests.unit.scheduler.plainly import node_affinity as plain_affinity

BY_NAME = {one.name: one for one in PLUGINS}
GPU = "example.com/gpu"


def made(name: str, args: Mapping[str, Any]) -> Plugin:
    configure = BY_NAME[name].configure
    assert configure is not None
    return configure(args, "args")


def profile(name: str, args: Mapping[str, Any]) -> Profile:
    return Profile.of(made(name, args) if one.name == name else one for one in PLUGINS)


def wrong(name: str, args: Mapping[str, Any]) -> list[str]:
    with pytest.raises(BadArgs) as problem:
        made(name, args)
    return [cause.line() for cause in problem.value.causes]


SHAPES = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 10)), min_size=1, max_size=4, unique_by=lambda one: one[0]
).map(lambda points: tuple(Point(full, score * 10) for full, score in sorted(points)))
WEIGHTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "pods", GPU, "ephemeral-storage"]), st.integers(1, 5), min_size=1
)
FITS = st.builds(
    Fit,
    st.sampled_from(["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"]),
    WEIGHTS,
    SHAPES,
)


def agree(plugin: Plugin, plain: Plain, one: Made, wanted: Pod) -> None:
    assert plugin.score is not None
    left = one.table.valid
    columns = np.flatnonzero(left)
    found = plugin.score(PodFacts.of(wanted), one.table, left)
    said = plain(wanted, one.cluster.nodes, one.cluster)
    if found is None:
        assert said is None
        return
    scores = plugin.normalize(found[columns]) if plugin.normalize else found[columns]
    assert said == {
        one.table.names[column]: int(number) for column, number in zip(columns, scores, strict=True)
    }


@settings(max_examples=80, deadline=None)
@given(FITS, CLUSTERS, PODS)
def test_every_strategy_scores_as_its_plain_form(fit: Fit, one: Made, wanted: Pod) -> None:
    agree(node_resources_fit.made(fit), resources_fit(fit), one, wanted)


@settings(max_examples=80, deadline=None)
@given(st.sets(st.sampled_from(["cpu", "memory", "pods", GPU]), min_size=1).map(sorted), CLUSTERS, PODS)
def test_balance_over_any_resources_is_that_of_its_plain_form(
    resources: list[str], one: Made, wanted: Pod
) -> None:
    agree(balanced_allocation.made(tuple(resources)), balanced(resources), one, wanted)


TERMS = st.builds(
    lambda found: NodeSelectorTerm(match_expressions=tuple(found)), st.lists(REQUIREMENTS, max_size=2)
)
ADDED = st.builds(
    lambda must, like: NodeAffinity(
        required_during_scheduling_ignored_during_execution=NodeSelector(node_selector_terms=tuple(must))
        if must
        else None,
        preferred_during_scheduling_ignored_during_execution=tuple(
            PreferredSchedulingTerm(weight=weight, preference=term) for weight, term in like
        ),
    ),
    st.lists(TERMS, max_size=2),
    st.lists(st.tuples(st.integers(1, 100), TERMS), max_size=2),
)


@settings(max_examples=80, deadline=None)
@given(ADDED, CLUSTERS, PODS)
def test_added_affinity_filters_and_scores_as_its_plain_form(
    added: NodeAffinity, one: Made, wanted: Pod
) -> None:
    plugin = node_affinity.made(added)
    agree(plugin, plain_affinity(added), one, wanted)
    assert plugin.filter is not None
    assert plugin.refuse is not None
    refusals = list(plugin.filter(PodFacts.of(wanted), one.table))
    for info in one.cluster.nodes:
        column = one.table.index[info.node.metadata.name]
        vector = [refusal.reason for refusal in refusals if refusal.nodes[column]]
        assert vector == list(plugin.refuse(wanted, info, one.cluster))


def fit(**strategy: Any) -> Mapping[str, Any]:
    return {"scoringStrategy": strategy}


def test_most_allocated_packs_and_least_allocated_spreads() -> None:
    table = table_of(node("full"), node("empty"))
    table.place("uid-x", "full", PodFacts.of(pod("x", cpu="2")))

    def goes(kind: str) -> Placed | Refused:
        only = [one.name for one in PLUGINS if one.name not in ("NodeResourcesFit", "DefaultBinder")]
        whole = profile("NodeResourcesFit", fit(type=kind))
        at = {**whole.at, "score": tuple(one for one in whole.at["score"] if one.name not in only)}
        return decide(pod("p", cpu="1"), table, profile=Profile("x", at, whole.weights))

    assert (goes("MostAllocated"), goes("LeastAllocated")) == (Placed("full"), Placed("empty"))


def test_a_shape_may_prefer_half_full_nodes() -> None:
    shape = [
        {"utilization": 0, "score": 0},
        {"utilization": 50, "score": 10},
        {"utilization": 100, "score": 0},
    ]
    plugin = made(
        "NodeResourcesFit",
        fit(
            type="RequestedToCapacityRatio",
            resources=[{"name": "cpu", "weight": 1}],
            requestedToCapacityRatio={"shape": shape},
        ),
    )
    table = table_of(node("quarter"), node("half"), node("most"))
    for number, name in ((0, "quarter"), (1, "half"), (2, "most")):
        table.place(f"uid-{name}", name, PodFacts.of(pod(name, cpu=str(number))))
    assert plugin.score is not None

    found = plugin.score(PodFacts.of(pod("p", cpu="1")), table, table.valid)

    assert found is not None
    assert [int(found[table.index[name]]) for name in ("quarter", "half", "most")] == [50, 100, 50]


@pytest.mark.parametrize("args", [{"ignoredResources": [GPU]}, {"ignoredResourceGroups": ["example.com"]}])
def test_an_ignored_resource_keeps_a_pod_off_no_node(args: Mapping[str, Any]) -> None:
    wanted = pod("p", extra={GPU: "1"})

    assert isinstance(decide(wanted, table_of(node("n"))), Refused)
    assert decide(wanted, table_of(node("n")), profile=profile("NodeResourcesFit", args)) == Placed("n")


def test_resources_of_kubernetes_cannot_be_ignored() -> None:
    ignoring = profile("NodeResourcesFit", {"ignoredResources": ["cpu"]})

    assert isinstance(decide(pod("p", cpu="9"), table_of(node("n")), profile=ignoring), Refused)


def test_what_the_profile_adds_is_said_in_its_own_words() -> None:
    term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    added = {
        "addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    }
    table = table_of(node("n"))

    found = decide(pod("p"), table, profile=profile("NodeAffinity", added))

    assert isinstance(found, Refused)
    assert "1 node(s) didn't match scheduler-enforced node affinity." in found.message
    table.set_node(node("m", labels={"disk": "ssd"}))
    assert decide(pod("p"), table, profile=profile("NodeAffinity", added)) == Placed("m")


def naming(*names: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(
        match_fields=(NodeSelectorRequirement(key="metadata.name", operator="In", values=names),)
    )


def bound_for(*terms: NodeSelectorTerm) -> Pod:
    selector = NodeSelector(node_selector_terms=terms)
    own = NodeAffinity(required_during_scheduling_ignored_during_execution=selector)
    return pod("p", cpu="9", affinity=Affinity(node_affinity=own))


def test_a_pod_that_names_its_nodes_is_looked_at_there_only() -> None:
    table = table_of(node("a"), node("b", cordoned=True), node("c"))

    found = decide(bound_for(naming("a")), table)

    assert isinstance(found, Refused)
    assert found.reasons == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )
    assert found.plugins == {"NodeAffinity", "NodeResourcesFit"}


def test_a_pod_that_names_nodes_that_are_not_there_is_said_to_satisfy_none() -> None:
    found = decide(bound_for(naming("gone")), table_of(node("a")))

    assert isinstance(found, Refused)
    assert found.reasons == "0/1 nodes are available: node(s) didn't satisfy plugin NodeAffinity."


def test_terms_that_name_different_nodes_conflict() -> None:
    both = NodeSelectorTerm(match_fields=(*naming("a").match_fields, *naming("b").match_fields))

    found = decide(bound_for(both), table_of(node("a"), node("b")))

    assert isinstance(found, Refused)
    assert found.reasons == "0/2 nodes are available: pod affinity terms conflict."
    assert found.helpful == ()


def test_default_constraints_hold_for_the_pods_of_a_service() -> None:
    hard = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    args = {"defaultingType": "List", "defaultConstraints": [hard]}
    table = table_of(node("a", labels={"zone": "a"}), node("b", labels={"zone": "b"}, cordoned=True))
    meta = ObjectMeta(namespace="default", name="web")
    table.set_object(Service(metadata=meta, spec=ServiceSpec(selector={"app": "web"})))
    table.place("uid-1", "a", PodFacts.of(pod("1", labels={"app": "web"})))

    second = pod("2", labels={"app": "web"})
    assert decide(second, table) == Placed("a")
    assert isinstance(decide(second, table, profile=profile("PodTopologySpread", args)), Refused)
    assert decide(pod("3"), table, profile=profile("PodTopologySpread", args)) == Placed("a")


def test_preemption_looks_at_as_many_nodes_as_it_is_told() -> None:
    found = made("DefaultPreemption", {"minCandidateNodesPercentage": 50, "minCandidateNodesAbsolute": 1})

    assert getattr(found.post_filter, "args", ()) == (50, 1)


ONE = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}


@pytest.mark.parametrize(
    ("name", "args", "line"),
    [
        ("NodeResourcesFit", {"some": 1}, 'unknown field "args.some"'),
        (
            "NodeResourcesFit",
            {"kind": "PodArgs"},
            'args.kind: Invalid value: "PodArgs": must be "NodeResourcesFitArgs"',
        ),
        (
            "NodeResourcesFit",
            fit(type="Best"),
            (
                'args.scoringStrategy.type: Unsupported value: "Best": supported values: '
                '"LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"'
            ),
        ),
        (
            "NodeResourcesFit",
            fit(type="MostAllocated", resources=[{"name": "cpu", "weight": 101}]),
            (
                "args.scoringStrategy.resources[0].weight: Invalid value: 101: "
                "resource weight of cpu not in valid range (0, 100]"
            ),
        ),
        (
            "NodeResourcesFit",
            fit(type="RequestedToCapacityRatio"),
            (
                "args.scoringStrategy.requestedToCapacityRatio: Required value: "
                "must be specified when type is RequestedToCapacityRatio"
            ),
        ),
        (
            "NodeResourcesFit",
            fit(type="MostAllocated", requestedToCapacityRatio={}),
            (
                "args.scoringStrategy.requestedToCapacityRatio: Forbidden: "
                "must be nil when type is not RequestedToCapacityRatio"
            ),
        ),
        (
            "NodeResourcesFit",
            fit(type="RequestedToCapacityRatio", requestedToCapacityRatio={"shape": []}),
            (
                "args.scoringStrategy.requestedToCapacityRatio.shape: Required value: "
                "at least one point must be specified"
            ),
        ),
        (
            "NodeResourcesFit",
            fit(
                type="RequestedToCapacityRatio",
                requestedToCapacityRatio={"shape": [{"utilization": 5}, {"utilization": 5, "score": 11}]},
            ),
            (
                "args.scoringStrategy.requestedToCapacityRatio.shape[1].utilization: Invalid value: 5: "
                "values must be sorted in increasing order"
            ),
        ),
        (
            "NodeResourcesFit",
            {"ignoredResourceGroups": ["a/b"]},
            """args.ignoredResourceGroups[0]: Invalid value: "a/b": resource group name can't contain '/'""",
        ),
        (
            "NodeResourcesBalancedAllocation",
            {"resources": [{"name": "cpu", "weight": 2}]},
            "args.resources[0].weight: Invalid value: 2: must be 1",
        ),
        (
            "NodeResourcesBalancedAllocation",
            {"resources": [{"name": "cpu"}, {"name": "cpu"}]},
            'args.resources[1].name: Duplicate value: "cpu"',
        ),
        (
            "InterPodAffinity",
            {"hardPodAffinityWeight": 101},
            "args.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]",
        ),
        (
            "DynamicResources",
            {"bindingTimeout": "500ms", "filterTimeout": "1s"},
            'args.bindingTimeout: Invalid value: "500ms": must be at least 1 second',
        ),
        (
            "DefaultPreemption",
            {"minCandidateNodesPercentage": 101},
            "args.minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]",
        ),
        (
            "DefaultPreemption",
            {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0},
            (
                "args.minCandidateNodesAbsolute: Invalid value: 0: "
                "cannot be zero at the same time as minCandidateNodesPercentage"
            ),
        ),
        (
            "PodTopologySpread",
            {"defaultConstraints": [ONE]},
            'args.defaultingType: Invalid value: "System": when .defaultConstraints are not empty',
        ),
        (
            "PodTopologySpread",
            {"defaultingType": "Some"},
            'args.defaultingType: Unsupported value: "Some": supported values: "System", "List"',
        ),
        (
            "PodTopologySpread",
            {"defaultingType": "List", "defaultConstraints": [ONE | {"maxSkew": 0}]},
            "args.defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf)",
        ),
        (
            "PodTopologySpread",
            {"defaultingType": "List", "defaultConstraints": [ONE | {"labelSelector": {}}]},
            (
                "args.defaultConstraints[0].labelSelector: Forbidden: "
                "constraint must not define a selector, as they deduced for each pod"
            ),
        ),
        (
            "PodTopologySpread",
            {"defaultingType": "List", "defaultConstraints": [ONE, ONE]},
            'args.defaultConstraints[1]: Duplicate value: "{zone, ScheduleAnyway}"',
        ),
        (
            "NodeAffinity",
            {"addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
            (
                "args.addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
                "must have at least one node selector term"
            ),
        ),
    ],
)
def test_wrong_arguments_are_told_in_upstream_s_words(name: str, args: Mapping[str, Any], line: str) -> None:
    assert line in wrong(name, args)
