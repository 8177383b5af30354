"""Which flow schema a request belongs to: upstream's words, and the objects that each cluster has."""

from typing import Any

import msgspec
import pytest

from kybern.api.flowcontrol_v1 import FlowSchema
from kybern.apiserver import bootstrap
from kybern.apiserver.fairness import matching
from kybern.auth.attributes import Attributes
from kybern.auth.user import User

DEFAULTS = [
    msgspec.convert(one.object, FlowSchema) for one in bootstrap.wanted() if one.plural == "flowschemas"
]
ALL = ("system:authenticated",)
NODE = User("system:node:n1", ("system:nodes", *ALL))
MANAGER = User("system:kube-controller-manager", ALL)
ACCOUNT = User(
    "system:serviceaccount:default:default",
    ("system:serviceaccounts", "system:serviceaccounts:default", *ALL),
)
SYSTEM_ACCOUNT = User(
    "system:serviceaccount:kube-system:job-controller",
    ("system:serviceaccounts", "system:serviceaccounts:kube-system", *ALL),
)
LEASE = ("coordination.k8s.io", "v1", "leases", "")


def asked(user: User, verb: str, *resource: str, path: str = "") -> Attributes:
    """``resource``: group, version, plural, subresource, namespace."""
    names = ("group", "version", "resource", "subresource", "namespace")
    given: Any = dict(zip(names, resource, strict=False))
    return Attributes(user, verb, path=path, **given)


@pytest.mark.parametrize(
    ("request_", "schema", "flow"),
    [
        (asked(User("admin", ("system:masters", *ALL)), "get", "", "v1", "pods", "", "x"), "exempt", ""),
        (asked(User("ann", ALL), "get", path="/readyz"), "probes", ""),
        (asked(User("ann", ALL), "get", path="/version"), "global-default", "ann"),
        (asked(User("ann", ALL), "list", "", "v1", "pods", "", "x"), "global-default", "ann"),
        (
            asked(User("system:anonymous", ("system:unauthenticated",)), "get", path="/api"),
            "global-default",
            "system:anonymous",
        ),
        (asked(NODE, "update", "", "v1", "nodes", "status"), "system-node-high", "system:node:n1"),
        (asked(NODE, "update", *LEASE, "kube-node-lease"), "system-node-high", "system:node:n1"),
        (asked(NODE, "list", "", "v1", "pods"), "system-nodes", "system:node:n1"),
        (asked(MANAGER, "update", *LEASE, "kube-system"), "system-leader-election", MANAGER.name),
        (asked(MANAGER, "update", *LEASE, "default"), "system-leader-election", MANAGER.name),
        (asked(MANAGER, "create", "", "v1", "pods", "", "x"), "kube-controller-manager", "x"),
        (asked(SYSTEM_ACCOUNT, "list", "", "v1", "pods"), "kube-system-service-accounts", ""),
        (asked(ACCOUNT, "list", "", "v1", "pods", "", "x"), "service-accounts", ACCOUNT.name),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_schemas_that_each_cluster_has(request_: Attributes, schema: str, flow: str) -> None:
    found = next(one for one in matching.in_order(DEFAULTS) if matching.matches(one, request_))
    assert found.metadata.name == schema
    assert matching.distinguisher(found, request_) == flow


def of(**rules: Any) -> FlowSchema:
    raw = {"subjects": [{"kind": "User", "user": {"name": "*"}}], **rules}
    return msgspec.convert({"metadata": {"name": "s"}, "spec": {"rules": [raw]}}, FlowSchema)


def resources(**changed: Any) -> FlowSchema:
    usual = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["x"]}
    return of(resourceRules=[usual | changed])


POD = asked(User("ann"), "get", "", "v1", "pods", "", "x")
EVERYWHERE = asked(User("ann"), "get", "", "v1", "pods")
STATUS = asked(User("ann"), "get", "", "v1", "pods", "status", "x")


@pytest.mark.parametrize(
    ("schema", "request_", "matches"),
    [
        (resources(), POD, True),
        (resources(verbs=["*"]), POD, True),
        (resources(verbs=["list"]), POD, False),
        (resources(apiGroups=["*"]), POD, True),
        (resources(apiGroups=["apps"]), POD, False),
        (resources(resources=["*"]), STATUS, True),
        (resources(resources=["pods"]), STATUS, False),
        (resources(resources=["pods/status"]), STATUS, True),
        (resources(namespaces=["*"]), POD, True),
        (resources(namespaces=["y"]), POD, False),
        (resources(), EVERYWHERE, False),
        (resources(namespaces=["*"]), EVERYWHERE, False),
        (resources(clusterScope=True, namespaces=[]), EVERYWHERE, True),
        (resources(clusterScope=True, namespaces=[]), POD, False),
        (resources(subjects=[]), POD, True),
    ],
)
def test_rules_for_resources(schema: FlowSchema, request_: Attributes, matches: bool) -> None:
    assert matching.matches(schema, request_) == matches


@pytest.mark.parametrize(
    ("url", "path", "matches"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/etcd", True),
        ("/healthz", "/healthzy", False),
        ("/healthz/*", "/healthz/etcd", True),
        ("*", "/anything", True),
        ("/metrics", "/version", False),
    ],
)
def test_rules_for_paths(url: str, path: str, matches: bool) -> None:
    schema = of(nonResourceRules=[{"verbs": ["get"], "nonResourceURLs": [url]}])
    assert matching.matches(schema, asked(User("ann"), "get", path=path)) == matches
    assert not matching.matches(schema, asked(User("ann"), "post", path=path))
    assert not matching.matches(schema, POD)


@pytest.mark.parametrize(
    ("subject", "matches"),
    [
        ({"kind": "User", "user": {"name": "system:serviceaccount:default:default"}}, True),
        ({"kind": "User", "user": {"name": "ann"}}, False),
        ({"kind": "Group", "group": {"name": "system:serviceaccounts"}}, True),
        ({"kind": "Group", "group": {"name": "*"}}, True),
        ({"kind": "Group", "group": {"name": "system:nodes"}}, False),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "default"}}, True),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "*"}}, True),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "def", "name": "*"}}, False),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "def"}}, False),
        ({"kind": "Robot"}, False),
    ],
)
def test_subjects(subject: dict[str, Any], matches: bool) -> None:
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    schema = of(subjects=[subject], resourceRules=[rule])
    assert matching.matches(schema, asked(ACCOUNT, "get", "", "v1", "pods", "", "x")) == matches


def test_schemas_of_the_same_precedence_go_by_name() -> None:
    def named(name: str, precedence: int) -> FlowSchema:
        return msgspec.convert(
            {"metadata": {"name": name}, "spec": {"matchingPrecedence": precedence}}, FlowSchema
        )

    found = matching.in_order([named("b", 2), named("a", 2), named("c", 1)])
    assert [one.metadata.name for one in found] == ["c", "a", "b"]
