"""Roles that are sums of others."""

from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from kybern.controllers.clusterrole_aggregation import State, diff
from kybern.loop.controller import Patch
from kybern.machinery.struct import replace

PODS = PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",))
JOBS = PolicyRule(verbs=("get",), api_groups=("batch",), resources=("jobs",))
NODES = PolicyRule(verbs=("get",), api_groups=("",), resources=("nodes",))


def part(name: str, *rules: PolicyRule, **labels: str) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name, labels=labels), rules=rules)


def whole(*rules: PolicyRule, **labels: str) -> ClusterRole:
    selectors = tuple(LabelSelector(match_labels={key: value}) for key, value in labels.items())
    rule = AggregationRule(cluster_role_selectors=selectors)
    return ClusterRole(metadata=ObjectMeta(name="sum"), aggregation_rule=rule, rules=rules)


PARTS = (
    part("b", PODS, JOBS, to="view"),
    part("a", JOBS, to="view"),
    part("c", NODES, to="edit"),
    part("d", NODES),
)


def test_rules_of_chosen_roles_are_joined_by_name_each_once() -> None:
    role = whole(NODES, to="view")

    assert list(diff(State(role, PARTS))) == [Patch(role, replace(role, rules=(JOBS, PODS)))]


def test_every_selector_adds_its_roles() -> None:
    role = whole(to="edit")
    both = replace(role, aggregation_rule=AggregationRule(cluster_role_selectors=(
        LabelSelector(match_labels={"to": "edit"}), LabelSelector(match_labels={"to": "view"}),
    )))  # fmt: skip

    (patch,) = diff(State(both, PARTS))

    assert isinstance(patch, Patch)
    assert patch.new == replace(both, rules=(NODES, JOBS, PODS))


def test_a_sum_comes_to_rest() -> None:
    assert list(diff(State(whole(JOBS, PODS, to="view"), PARTS))) == []


def test_a_sum_of_nothing_has_no_rules() -> None:
    role = whole(PODS, to="nobody")

    assert list(diff(State(role, PARTS))) == [Patch(role, replace(role, rules=()))]
