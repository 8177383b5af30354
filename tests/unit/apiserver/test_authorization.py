"""The chain of authorizers, fed by changes of stored objects."""

import json
from typing import Any

import pytest

from kybern.apiserver.authorization import Authorization, Changed
from kybern.auth.attributes import Attributes, Verdict
from kybern.auth.user import User
from kybern.machinery.errors import BadRequest, Forbidden

ALICE = User("alice", ("system:authenticated",))
N1 = User("system:node:n1", ("system:nodes", "system:authenticated"))
ROOT = User("root", ("system:masters",))
RBAC = "rbac.authorization.k8s.io"


class Stored:
    """Objects that tell subscribers of their changes."""

    def __init__(self) -> None:
        self.told: dict[tuple[str, str], Changed] = {}

    def subscribe(self, group: str, plural: str, changed: Changed) -> None:
        self.told[group, plural] = changed

    def change(self, group: str, plural: str, old: Any, new: Any) -> None:
        self.told[group, plural](*(json.dumps(one).encode() if one else None for one in (old, new)))


def watching(*modes: str) -> tuple[Authorization, Stored]:
    chain, stored = Authorization(modes or ("Node", "RBAC")), Stored()
    chain.follow(stored)
    return chain, stored


def named(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": "u"}, **fields}


def grant_reads(stored: Stored) -> None:
    rules = [
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["get"], "nonResourceURLs": ["/x"]},
    ]
    stored.change(RBAC, "clusterroles", None, named("reader", rules=rules))
    subjects = [{"kind": "User", "name": "alice"}]
    ref = {"kind": "ClusterRole", "name": "reader"}
    stored.change(RBAC, "clusterrolebindings", None, named("b", subjects=subjects, roleRef=ref))


def pods(user: User, verb: str = "list", name: str = "") -> Attributes:
    return Attributes(user, verb, "", "v1", "pods", namespace="x", name=name)


def test_what_no_authorizer_allows_is_forbidden_in_upstreams_words() -> None:
    chain, _ = watching()

    with pytest.raises(Forbidden) as refused:
        chain.check(pods(ALICE))

    assert refused.value.message == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "x"'
    )
    assert refused.value.status()["details"] == {"kind": "pods"}


@pytest.mark.parametrize(
    ("asked", "message", "details"),
    [
        (
            Attributes(ALICE, "get", "apps", "v1", "deployments", "scale", "x", "d"),
            (
                'deployments.apps "d" is forbidden: User "alice" cannot get resource "deployments/scale" in API group "apps"'
                ' in the namespace "x"'
            ),
            {"name": "d", "group": "apps", "kind": "deployments"},
        ),
        (
            Attributes(ALICE, "list", "", "v1", "nodes"),
            'nodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope',
            {"kind": "nodes"},
        ),
        (Attributes(ALICE, "get", path="/metrics"), 'forbidden: User "alice" cannot get path "/metrics"', {}),
        (
            Attributes(N1, "get", "", "v1", "nodes", name="n2"),
            (
                'nodes "n2" is forbidden: User "system:node:n1" cannot get resource "nodes" in API group "" at the cluster'
                " scope: node 'n1' cannot read 'n2', only its own Node object"
            ),
            {"name": "n2", "kind": "nodes"},
        ),
    ],
)
def test_a_refusal_names_the_request(asked: Attributes, message: str, details: dict[str, str]) -> None:
    chain, _ = watching()

    with pytest.raises(Forbidden) as refused:
        chain.check(asked)

    assert refused.value.message == message
    assert refused.value.status()["details"] == details


def test_roles_and_bindings_count_as_they_come_and_go() -> None:
    chain, stored = watching()
    grant_reads(stored)

    chain.check(pods(ALICE))
    stored.change(RBAC, "clusterroles", named("reader"), None)
    with pytest.raises(
        Forbidden, match=r'RBAC: clusterrole\.rbac\.authorization\.k8s\.io "reader" not found'
    ):
        chain.check(pods(ALICE))


def bound(name: str, node: str = "", secret: str = "s", **more: Any) -> dict[str, Any]:
    volume = {"name": "v", "secret": {"secretName": secret}}
    spec = {"nodeName": node, "containers": [], "volumes": [volume], **more}
    return {"metadata": {"name": name, "namespace": "x", "uid": "u"}, "spec": spec}


def test_a_pod_gives_its_node_access_once_it_is_bound_and_until_it_is_gone() -> None:
    chain, stored = watching()
    secret = Attributes(N1, "get", "", "v1", "secrets", namespace="x", name="s")
    seen = []

    for old, new in (
        (None, bound("p")),
        (bound("p"), bound("p", "n1")),
        (bound("p", "n1"), bound("p", "n1", "s") | {"status": {"phase": "Running"}}),
        (bound("p", "n1"), None),
    ):
        stored.change("", "pods", old, new)
        seen.append(chain.allow(secret).verdict is Verdict.ALLOW)

    assert seen == [False, True, True, False]


def test_an_ephemeral_container_gives_access_to_what_it_reads() -> None:
    chain, stored = watching()
    stored.change("", "pods", None, bound("p", "n1"))
    debug = [{"name": "e", "envFrom": [{"configMapRef": {"name": "tools"}}]}]

    stored.change("", "pods", bound("p", "n1"), bound("p", "n1", ephemeralContainers=debug))

    assert chain.graph.leads(("configmap", "x", "tools"), "n1")


def test_volumes_attachments_and_slices_are_followed() -> None:
    chain, stored = watching()
    stored.change(
        "", "persistentvolumes", None, named("pv", spec={"claimRef": {"namespace": "x", "name": "c"}})
    )
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    stored.change("", "pods", None, bound("p", "n1", volumes=[claim]))
    stored.change("storage.k8s.io", "volumeattachments", None, named("va", spec={"nodeName": "n1"}))
    stored.change("resource.k8s.io", "resourceslices", None, named("sl", spec={"nodeName": "n1"}))
    vertices = [("pv", "", "pv"), ("va", "", "va"), ("slice", "", "sl")]

    assert [chain.graph.leads(vertex, "n1") for vertex in vertices] == [True, True, True]
    stored.change("", "persistentvolumes", named("pv"), None)
    stored.change("storage.k8s.io", "volumeattachments", named("va"), None)
    stored.change("resource.k8s.io", "resourceslices", named("sl"), named("sl", spec={}))
    assert [chain.graph.leads(vertex, "n1") for vertex in vertices] == [False, False, False]


def test_nodes_follow_the_shipped_rules_for_other_kinds() -> None:
    chain, _ = watching()

    chain.check(Attributes(N1, "watch", "", "v1", "services"))
    chain.check(Attributes(N1, "create", "authorization.k8s.io", "v1", "subjectaccessreviews"))
    with pytest.raises(Forbidden):
        chain.check(Attributes(N1, "list", "apps", "v1", "deployments"))


@pytest.mark.parametrize(
    ("modes", "user", "verdict", "reason"),
    [
        (("RBAC",), ROOT, Verdict.ALLOW, ""),
        (("AlwaysDeny",), ROOT, Verdict.ALLOW, ""),
        (("AlwaysDeny",), ALICE, Verdict.DENY, "Everything is forbidden."),
        (("AlwaysAllow", "AlwaysDeny"), ALICE, Verdict.ALLOW, ""),
        (("AlwaysDeny", "AlwaysAllow"), ALICE, Verdict.DENY, "Everything is forbidden."),
        (("RBAC", "AlwaysAllow"), ALICE, Verdict.ALLOW, ""),
    ],
)
def test_modes_are_asked_in_order(modes: tuple[str, ...], user: User, verdict: Verdict, reason: str) -> None:
    chain, _ = watching(*modes)

    assert (chain.allow(pods(user)).verdict, chain.allow(pods(user)).reason) == (verdict, reason)


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match='"Guess" is not a mode'):
        Authorization(("Guess",))


def test_impersonation_changes_the_user_of_the_request() -> None:
    chain, _ = watching()

    assert chain.acting(pods(ROOT), {"Impersonate-User": "alice", "Accept": "x"}).user == ALICE
    assert chain.acting(pods(ROOT), {"Accept": "x"}).user is ROOT
    with pytest.raises(Forbidden):
        chain.acting(pods(ALICE), {"impersonate-user": "root"})
    with pytest.raises(BadRequest):
        chain.acting(pods(ROOT), {"Impersonate-Group": "g"})


def test_rights_list_rules_and_what_could_not_be_told() -> None:
    chain, stored = watching()
    grant_reads(stored)

    assert [rule.verbs for rule in chain.rights(ALICE, "x").rules] == [("get", "list"), ("get",)]
    assert chain.rights(ROOT, "x").rules[0].resources == ("*",)
    node = chain.rights(N1, "x")
    assert (node.incomplete, node.errors) == (
        True,
        ("node authorizer does not support user rule resolution",),
    )


def test_escalation_is_checked_for_roles_and_bindings_under_rbac_only() -> None:
    from kybern.api.core_v1 import Pod
    from kybern.api.rbac_v1 import ClusterRole, PolicyRule

    chain, stored = watching()
    grant_reads(stored)
    wanted = ClusterRole(rules=(PolicyRule(verbs=("delete",), api_groups=("",), resources=("pods",)),))

    with pytest.raises(Forbidden, match="not currently held"):
        chain.check_escalation(wanted, ALICE)
    chain.check_escalation(wanted, ROOT)
    chain.check_escalation(Pod(), ALICE)
    watching("AlwaysAllow")[0].check_escalation(wanted, ALICE)
