"""Who may write which roles and bindings."""

import pytest

from kybern.api.meta_v1 import LabelSelector, ObjectMeta
from kybern.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from kybern.auth.escalation import check_binding, check_role
from kybern.auth.rbac import Authorizer, Policy
from kybern.auth.rules import compact, describe, uncovered
from kybern.auth.user import User
from kybern.machinery.errors import Details, Forbidden, NotFound
from tests.unit.auth.test_rbac import cluster_role, everywhere, policy, role, rule, user, within

EVE = User("eve", ("system:authenticated",))
MASTER = User("root", ("system:masters",))
GROUP = "rbac.authorization.k8s.io"


def held(*rules: PolicyRule) -> Policy:
    return policy(
        cluster_role("held", *rules),
        cluster_role("cluster-admin", rule("*", "*", "*"), rule("*", urls="*")),
        cluster_role("view"),
        everywhere("b", "held", user("eve")),
    )


@pytest.mark.parametrize(
    ("owned", "wanted", "missing"),
    [
        (rule("get list", "pods"), rule("get", "pods"), []),
        (rule("get", "pods"), rule("get list", "pods"), [rule("list", "pods")]),
        (rule("*", "*", "*"), rule("get", "pods/log"), []),
        (rule("get", "*/log"), rule("get", "pods/log"), []),
        (rule("get", "pods"), rule("get", "pods/log"), [rule("get", "pods/log")]),
        (rule("get", "pods"), rule("get", "*"), [rule("get", "*")]),
        (rule("get", "pods"), rule("*", "pods"), [rule("*", "pods")]),
        (rule("get", "pods", names="a b"), rule("get", "pods", names="a"), []),
        (rule("get", "pods", names="a"), rule("get", "pods", names="a b"), [rule("get", "pods", names="b")]),
        (rule("get", "pods", names="a"), rule("get", "pods"), [rule("get", "pods")]),
        (rule("get", "pods"), rule("get", "pods", names="a"), []),
        (rule("get", "pods", "apps"), rule("get", "pods", "batch"), [rule("get", "pods", "batch")]),
        (rule("get", urls="/a/*"), rule("get", urls="/a/b /a/*"), []),
        (rule("get", urls="/a/b"), rule("get", urls="/a/*"), [rule("get", urls="/a/*")]),
        (rule("get", urls="*"), rule("get", urls="/x"), []),
        (rule("*", "*", "*"), rule("get", urls="/x"), [rule("get", urls="/x")]),
    ],
)
def test_what_one_rule_leaves_uncovered_of_another(
    owned: PolicyRule, wanted: PolicyRule, missing: list[PolicyRule]
) -> None:
    assert uncovered([owned], [wanted]) == missing


def test_rules_of_one_resource_are_joined_and_described() -> None:
    joined = compact(
        [rule("get", "pods"), rule("get", urls="/x"), rule("list", "pods"), rule("get", "pods", names="a")]
    )

    assert [describe(one) for one in joined] == [
        '{NonResourceURLs:["/x"], Verbs:["get"]}',
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}',
        '{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get"]}',
    ]


def test_a_role_with_rules_that_are_held_may_be_written() -> None:
    made = held(rule("get list", "configmaps"))

    check_role(role("x", "r", rule("get", "configmaps")), EVE, made, Authorizer(made).authorize)


def test_a_role_with_more_is_refused_in_upstreams_words() -> None:
    made = held(rule("get", "configmaps"))

    with pytest.raises(Forbidden) as refused:
        check_role(role("x", "r", rule("get list", "secrets")), EVE, made, Authorizer(made).authorize)

    assert refused.value.message == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "eve" (groups=["system:authenticated"]) is attempting to'
        ' grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )
    assert refused.value.details == Details(name="r", group=GROUP, kind="roles")


@pytest.mark.parametrize("way", [rule("escalate", "roles", GROUP), rule("*", "roles", GROUP)])
def test_the_verb_escalate_lets_one_write_any_role(way: PolicyRule) -> None:
    made = held(way)

    check_role(role("x", "r", rule("*", "*", "*")), EVE, made, Authorizer(made).authorize)


def test_masters_may_write_anything() -> None:
    made = policy()
    decide = Authorizer(made).authorize

    check_role(cluster_role("r", rule("*", "*", "*")), MASTER, made, decide)
    check_binding(everywhere("b", "absent", user("z")), MASTER, made, decide)


def test_a_binding_to_more_than_is_held_is_refused_in_upstreams_words() -> None:
    made = held(rule("get", "configmaps"))

    with pytest.raises(Forbidden) as refused:
        check_binding(
            within("x", "b-admin", "cluster-admin", user("z"), kind="ClusterRole"),
            EVE,
            made,
            Authorizer(made).authorize,
        )

    assert refused.value.message == (
        'rolebindings.rbac.authorization.k8s.io "b-admin" is forbidden: user "eve" (groups=["system:authenticated"]) is'
        " attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'
    )


def test_a_binding_to_a_role_without_rules_is_allowed() -> None:
    made = held()

    check_binding(
        within("x", "b", "view", user("z"), kind="ClusterRole"), EVE, made, Authorizer(made).authorize
    )


def test_the_verb_bind_may_be_limited_to_names() -> None:
    made = held(rule("bind", "clusterroles", GROUP, names="cluster-admin"))
    decide = Authorizer(made).authorize

    check_binding(everywhere("b", "cluster-admin", user("z")), EVE, made, decide)
    with pytest.raises(NotFound, match=r'clusterrole\.rbac\.authorization\.k8s\.io "other" not found'):
        check_binding(everywhere("b", "other", user("z")), EVE, made, decide)


def test_the_verb_bind_allows_binding_a_role_that_is_not_there_yet() -> None:
    made = held(rule("bind", "roles", GROUP))

    check_binding(within("x", "b", "absent", user("z")), EVE, made, Authorizer(made).authorize)


def test_an_aggregation_rule_needs_full_authority() -> None:
    made = held(rule("*", "*", "*"))
    wanted = ClusterRole(
        metadata=ObjectMeta(name="sum"),
        aggregation_rule=AggregationRule(cluster_role_selectors=(LabelSelector(match_labels={"a": "b"}),)),
    )
    deny = Authorizer(policy()).authorize

    with pytest.raises(Forbidden, match="must have cluster-admin privileges to use the aggregationRule"):
        check_role(wanted, EVE, made, deny)
    check_role(wanted, EVE, held(rule("*", "*", "*"), rule("*", urls="*")), deny)


def test_the_refusal_tells_of_roles_that_could_not_be_resolved() -> None:
    made = held()
    made.binding(None, everywhere("c", "lost", user("eve")))

    with pytest.raises(Forbidden) as refused:
        check_role(cluster_role("r", rule("get", "pods")), EVE, made, Authorizer(made).authorize)

    assert refused.value.message.endswith(
        '; resolution errors: [clusterrole.rbac.authorization.k8s.io "lost" not found]'
    )
