"""RBAC decisions as tables: roles and bindings in, verdicts and upstream's reasons out."""

import pytest

from kybern.api.meta_v1 import ObjectMeta
from kybern.api.rbac_v1 import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.rbac import Authorizer, Policy
from kybern.auth.user import User

ALICE = User("alice", ("devs", "system:authenticated"))
ROBOT = User("system:serviceaccount:ci:robot", ("system:serviceaccounts", "system:serviceaccounts:ci"))


def rule(verbs: str, resources: str = "", groups: str = "", names: str = "", urls: str = "") -> PolicyRule:
    """A rule from words separated by blanks; the core group is written "-"."""
    return PolicyRule(
        verbs=tuple(verbs.split()),
        resources=tuple(resources.split()),
        api_groups=tuple(group if group != "-" else "" for group in (groups or "-").split())
        if resources
        else (),
        resource_names=tuple(names.split()),
        non_resource_urls=tuple(urls.split()),
    )


def cluster_role(name: str, *rules: PolicyRule) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name), rules=rules)


def role(namespace: str, name: str, *rules: PolicyRule) -> Role:
    return Role(metadata=ObjectMeta(namespace=namespace, name=name), rules=rules)


def everywhere(name: str, of: str, *subjects: Subject) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=ObjectMeta(name=name), role_ref=RoleRef(kind="ClusterRole", name=of), subjects=subjects
    )


def within(namespace: str, name: str, of: str, *subjects: Subject, kind: str = "Role") -> RoleBinding:
    return RoleBinding(
        metadata=ObjectMeta(namespace=namespace, name=name),
        role_ref=RoleRef(kind=kind, name=of),
        subjects=subjects,
    )


def user(name: str) -> Subject:
    return Subject(kind="User", name=name, api_group="rbac.authorization.k8s.io")


def group(name: str) -> Subject:
    return Subject(kind="Group", name=name, api_group="rbac.authorization.k8s.io")


def account(namespace: str, name: str) -> Subject:
    return Subject(kind="ServiceAccount", name=name, namespace=namespace)


def policy(*objects: ClusterRole | Role | ClusterRoleBinding | RoleBinding) -> Policy:
    made = Policy()
    for one in objects:
        if isinstance(one, (ClusterRole, Role)):
            made.role(None, one)
        else:
            made.binding(None, one)
    return made


def ask(who: User, request: str) -> Attributes:
    """``verb group/resource[/sub][:name][@namespace]`` or ``verb /path``; the core group is "-"."""
    verb, what = request.split(" ", 1)
    if what.startswith("/"):
        return Attributes(who, verb, path=what)
    what, _, namespace = what.partition("@")
    what, _, name = what.partition(":")
    api, _, resource = what.partition("/")
    resource, _, subresource = resource.partition("/")
    return Attributes(who, verb, api if api != "-" else "", "v1", resource, subresource, namespace, name)


RULES = (
    rule("get list", "pods"),
    rule("get", "pods/log"),
    rule("patch", "*/scale", "apps extensions"),
    rule("get", "secrets", names="one two"),
    rule("*", "*", "batch"),
    rule("get", urls="/metrics /debug/*"),
)


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        ("get -/pods:p@x", True),
        ("list -/pods", True),
        ("watch -/pods@x", False),
        ("get -/pods/log:p@x", True),
        ("get -/pods/exec:p@x", False),
        ("get apps/pods:p@x", False),
        ("patch apps/deployments/scale:d@x", True),
        ("patch extensions/things/scale:d@x", True),
        ("patch apps/deployments:d@x", False),
        ("get -/secrets:one@x", True),
        ("get -/secrets:three@x", False),
        ("list -/secrets@x", False),
        ("delete batch/jobs:j@x", True),
        ("anything batch/jobs/status:j@x", True),
        ("get /metrics", True),
        ("get /metrics/cadvisor", False),
        ("get /debug/pprof", True),
        ("get /debug", False),
        ("post /metrics", False),
    ],
)
def test_a_cluster_role_bound_to_a_user_allows_what_its_rules_say(request_: str, *, allowed: bool) -> None:
    decide = Authorizer(policy(cluster_role("r", *RULES), everywhere("b", "r", user("alice")))).authorize

    assert (decide(ask(ALICE, request_)).verdict is Verdict.ALLOW) == allowed
    assert decide(ask(ROBOT, request_)).verdict is Verdict.NO_OPINION


@pytest.mark.parametrize(
    ("binding", "reason"),
    [
        (everywhere("b", "r", user("alice")), 'ClusterRoleBinding "b" of ClusterRole "r" to User "alice"'),
        (
            everywhere("b", "r", group("devs"), user("alice")),
            'ClusterRoleBinding "b" of ClusterRole "r" to Group "devs"',
        ),
        (
            within("x", "b", "r", user("alice"), kind="ClusterRole"),
            'RoleBinding "b/x" of ClusterRole "r" to User "alice"',
        ),
        (within("x", "b", "own", group("devs")), 'RoleBinding "b/x" of Role "own" to Group "devs"'),
    ],
)
def test_the_reason_names_binding_role_and_subject(
    binding: ClusterRoleBinding | RoleBinding, reason: str
) -> None:
    pods = rule("get", "pods")
    decide = Authorizer(policy(cluster_role("r", pods), role("x", "own", pods), binding)).authorize

    assert decide(ask(ALICE, "get -/pods:p@x")) == Decision(Verdict.ALLOW, f"RBAC: allowed by {reason}")


@pytest.mark.parametrize(
    ("subject", "described"),
    [(account("ci", "robot"), "robot/ci"), (Subject(kind="ServiceAccount", name="robot"), "robot/ci")],
)
def test_a_service_account_is_described_with_its_namespace(subject: Subject, described: str) -> None:
    decide = Authorizer(
        policy(role("ci", "r", rule("get", "pods")), within("ci", "b", "r", subject))
    ).authorize

    assert decide(ask(ROBOT, "get -/pods:p@ci")).reason == (
        f'RBAC: allowed by RoleBinding "b/ci" of Role "r" to ServiceAccount "{described}"'
    )


def test_a_role_binding_allows_nothing_in_other_namespaces_nor_cluster_wide() -> None:
    made = policy(
        cluster_role("r", rule("*", "*", "*")), within("x", "b", "r", user("alice"), kind="ClusterRole")
    )
    decide = Authorizer(made).authorize

    assert decide(ask(ALICE, "get -/pods:p@x")).verdict is Verdict.ALLOW
    assert decide(ask(ALICE, "get -/pods:p@y")).verdict is Verdict.NO_OPINION
    assert decide(ask(ALICE, "list -/pods")).verdict is Verdict.NO_OPINION


def test_a_binding_to_an_absent_role_is_told_in_the_reason() -> None:
    made = policy(everywhere("b", "lost", user("alice")), within("x", "c", "gone", user("alice")))
    decide = Authorizer(made).authorize

    assert (
        decide(ask(ALICE, "list -/pods")).reason
        == 'RBAC: clusterrole.rbac.authorization.k8s.io "lost" not found'
    )
    assert decide(ask(ALICE, "list -/pods@x")).reason == (
        'RBAC: [clusterrole.rbac.authorization.k8s.io "lost" not found, role.rbac.authorization.k8s.io "gone" not found]'
    )


def test_a_change_of_roles_or_bindings_counts_at_once() -> None:
    made = policy()
    decide = Authorizer(made).authorize
    asked = ask(ALICE, "get -/pods:p@x")
    steps: list[bool] = []

    def look() -> None:
        steps.append(decide(asked).verdict is Verdict.ALLOW)

    look()
    binding, reader = everywhere("b", "r", user("alice")), cluster_role("r", rule("get", "pods"))
    made.binding(None, binding)
    look()
    made.role(None, reader)
    look()
    made.role(reader, cluster_role("r", rule("list", "pods")))
    look()
    made.role(None, reader)
    made.binding(binding, everywhere("b", "r", user("bob")))
    look()
    made.binding(None, binding)
    look()
    made.binding(binding, None)
    look()

    assert steps == [False, False, True, False, False, True, False]


def test_a_binding_that_names_a_subject_twice_is_forgotten_whole() -> None:
    twice = everywhere("b", "r", user("alice"), user("alice"), group("devs"))
    made = policy(cluster_role("r", rule("get", "pods")), twice)

    made.binding(twice, None)

    assert Authorizer(made).authorize(ask(ALICE, "get -/pods:p")).verdict is Verdict.NO_OPINION


def test_names_are_decided_one_by_one_from_the_same_plan() -> None:
    made = policy(
        cluster_role("one", rule("get", "secrets", names="a")),
        cluster_role("two", rule("get", "secrets", names="b")),
        everywhere("first", "one", user("alice")),
        everywhere("second", "two", user("alice")),
    )
    decide = Authorizer(made).authorize

    verdicts = [decide(ask(ALICE, f"get -/secrets:{name}@x")).reason for name in ("b", "a", "c", "")]

    assert verdicts == [
        'RBAC: allowed by ClusterRoleBinding "second" of ClusterRole "two" to User "alice"',
        'RBAC: allowed by ClusterRoleBinding "first" of ClusterRole "one" to User "alice"',
        "",
        "",
    ]


def test_rights_hold_all_rules_of_the_namespace_and_the_cluster() -> None:
    made = policy(
        cluster_role("r", rule("get", "pods")),
        role("x", "own", rule("get", "secrets")),
        everywhere("b", "r", group("devs")),
        within("x", "c", "own", user("alice")),
        within("x", "d", "lost", user("alice")),
    )

    rights = made.rights(ALICE, "x")

    assert rights.rules == [rule("get", "pods"), rule("get", "secrets")]
    assert rights.errors == ['role.rbac.authorization.k8s.io "lost" not found']
    assert made.rights(ALICE, "").rules == [rule("get", "pods")]
