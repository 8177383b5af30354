"""What kubelets may read and write, as tables over a graph of pods and volumes."""

from typing import Any

import pytest

from kybern.auth.attributes import Attributes, Verdict
from kybern.auth.node import Authorizer, Graph, node_of
from kybern.auth.user import User
from tests.unit.auth.test_rbac import ask, rule

N1 = User("system:node:n1", ("system:nodes", "system:authenticated"))
RULES = (rule("get list watch", "services"), rule("create", "events"), rule("get", "pods nodes secrets"))


def pod(name: str, node: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "x"},
        "spec": {"nodeName": node, "containers": [], **spec},
    }


def graph() -> Graph:
    made = Graph()
    made.pod(
        "x",
        "web",
        pod(
            "web",
            "n1",
            serviceAccountName="robot",
            imagePullSecrets=[{"name": "pull"}],
            containers=[
                {
                    "name": "c",
                    "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "settings"}}],
                    "env": [
                        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "k"}}},
                    ],
                }
            ],
            initContainers=[{"name": "i", "envFrom": [{"secretRef": {"name": "first"}}]}],
            volumes=[
                {"name": "s", "secret": {"secretName": "mounted"}},
                {"name": "m", "configMap": {"name": "files"}},
                {
                    "name": "p",
                    "projected": {"sources": [{"secret": {"name": "part"}}, {"configMap": {"name": "bit"}}]},
                },
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "tmp", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "csi", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "publish"}}},
            ],
            resourceClaims=[{"name": "gpu", "resourceClaimName": "card"}],
        ),
    )
    made.pod("x", "other", pod("other", "n2", volumes=[{"name": "s", "secret": {"secretName": "theirs"}}]))
    made.volume(
        "disk",
        {"spec": {"claimRef": {"namespace": "x", "name": "data"}, "iscsi": {"secretRef": {"name": "chap"}}}},
    )
    made.bound("va", "attached", "n1")
    made.bound("slice", "devices", "n1")
    return made


@pytest.mark.parametrize(
    "request_",
    [
        "get -/secrets:pull@x",
        "list -/secrets:all@x",
        "watch -/secrets:key@x",
        "get -/secrets:first@x",
        "get -/secrets:mounted@x",
        "get -/secrets:part@x",
        "get -/secrets:publish@x",
        "get -/secrets:chap@x",
        "get -/configmaps:settings@x",
        "get -/configmaps:one@x",
        "get -/configmaps:files@x",
        "get -/configmaps:bit@x",
        "get -/persistentvolumeclaims:data@x",
        "get -/persistentvolumeclaims:web-tmp@x",
        "patch -/persistentvolumeclaims/status:data@x",
        "get -/persistentvolumes:disk",
        "create -/serviceaccounts/token:robot@x",
        "get -/serviceaccounts:robot@x",
        "get resource.k8s.io/resourceclaims:card@x",
        "get storage.k8s.io/volumeattachments:attached",
        "patch resource.k8s.io/resourceslices:devices",
        "create resource.k8s.io/resourceslices",
        "get -/pods:web@x",
        "list -/pods:web@x",
        "create -/pods@x",
        "delete -/pods:other@x",
        "patch -/pods/status:web@x",
        "create -/pods/eviction:web@x",
        "get -/nodes:n1",
        "watch -/nodes:n1",
        "create -/nodes",
        "patch -/nodes/status:n1",
        "create coordination.k8s.io/leases@kube-node-lease",
        "update coordination.k8s.io/leases:n1@kube-node-lease",
        "create storage.k8s.io/csinodes",
        "patch storage.k8s.io/csinodes:n1",
        "list -/services",
        "create -/events@x",
    ],
)
def test_a_node_may(request_: str) -> None:
    assert Authorizer(graph(), RULES).authorize(ask(N1, request_)).verdict is Verdict.ALLOW


UNRELATED = "no relationship found between node 'n1' and this object"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("get -/secrets:theirs@x", UNRELATED),
        ("get -/secrets:pull@y", UNRELATED),
        ("get -/secrets:absent@x", UNRELATED),
        ("list -/secrets@x", "No Object name found"),
        ("list -/secrets", "can only read namespaced object of this type"),
        ("delete -/secrets:pull@x", "can only read resources of this type"),
        ("get -/configmaps/status:files@x", "cannot read subresource"),
        ("list -/persistentvolumes", "can only get individual resources of this type"),
        ("get -/persistentvolumes/status:disk", "cannot get subresource"),
        ("delete -/persistentvolumeclaims/status:data@x", "can only get/update/patch this type"),
        ("create -/serviceaccounts/token:admin@x", UNRELATED),
        ("create -/serviceaccounts:robot@x", "can only create token subresource of serviceaccount"),
        ("list -/serviceaccounts@x", "can only create tokens for individual service accounts"),
        ("get -/pods:other@x", UNRELATED),
        ("list -/pods@x", "can only list/watch pods with spec.nodeName field selector"),
        ("update -/pods:web@x", ""),
        ("get -/pods/exec:web@x", ""),
        ("get -/nodes:n2", "node 'n1' cannot read 'n2', only its own Node object"),
        ("list -/nodes", "node 'n1' cannot read all nodes, only its own Node object"),
        ("delete -/nodes:n1", ""),
        ("get -/nodes/proxy:n1", ""),
        (
            "list coordination.k8s.io/leases@kube-node-lease",
            "can only get, create, update, patch, or delete a node lease",
        ),
        (
            "get coordination.k8s.io/leases:n1@x",
            'can only access leases in the "kube-node-lease" system namespace',
        ),
        (
            "get coordination.k8s.io/leases:n2@kube-node-lease",
            "can only access node lease with the same name as the requesting node",
        ),
        ("list storage.k8s.io/csinodes", "can only get, create, update, patch, or delete a CSINode"),
        ("get storage.k8s.io/csinodes/status:n1", "cannot authorize CSINode subresources"),
        (
            "delete storage.k8s.io/csinodes:n2",
            "can only access CSINode with the same name as the requesting node",
        ),
        ("get resource.k8s.io/resourceslices/status:devices", "cannot authorize ResourceSlice subresources"),
        (
            "list resource.k8s.io/resourceslices",
            "can only list/watch/deletecollection resourceslices with nodeName field selector",
        ),
        (
            "proxy resource.k8s.io/resourceslices",
            (
                "only the following verbs are allowed for a ResourceSlice: "
                "get, watch, list, create, update, patch, delete, deletecollection"
            ),
        ),
        ("get apps/deployments:d@x", ""),
        ("delete -/services:s@x", ""),
    ],
)
def test_a_node_may_not_and_is_told_why(request_: str, reason: str) -> None:
    decision = Authorizer(graph(), RULES).authorize(ask(N1, request_))

    assert (decision.verdict, decision.reason) == (Verdict.NO_OPINION, reason)


@pytest.mark.parametrize(
    ("resource", "group", "field", "node", "allowed"),
    [
        ("pods", "", "spec.nodeName", "n1", True),
        ("pods", "", "spec.nodeName", "n2", False),
        ("pods", "", "metadata.name", "n1", False),
        ("resourceslices", "resource.k8s.io", "spec.nodeName", "n1", True),
        ("resourceslices", "resource.k8s.io", "spec.nodeName", "n2", False),
    ],
)
def test_lists_need_the_selector_of_the_own_node(
    resource: str, group: str, field: str, node: str, *, allowed: bool
) -> None:
    asked = Attributes(N1, "watch", group, "v1", resource, field_selector=((field, "=", node),))

    assert (Authorizer(graph(), RULES).authorize(asked).verdict is Verdict.ALLOW) == allowed


def test_a_selector_that_excludes_the_own_node_does_not_help() -> None:
    asked = Attributes(N1, "list", "", "v1", "pods", field_selector=(("spec.nodeName", "!=", "n1"),))

    assert Authorizer(graph(), RULES).authorize(asked).verdict is Verdict.NO_OPINION


def test_a_mirror_pod_gives_its_node_nothing_but_itself() -> None:
    made = Graph()
    mirror = pod("m", "n1", volumes=[{"name": "s", "secret": {"secretName": "theirs"}}])
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    made.pod("x", "m", mirror)

    assert made.leads(("pod", "x", "m"), "n1")
    assert not made.leads(("secret", "x", "theirs"), "n1")


def test_a_secret_is_readable_as_long_as_one_pod_of_the_node_needs_it() -> None:
    made = Graph()
    volume = [{"name": "s", "secret": {"secretName": "shared"}}]
    secret = ("secret", "x", "shared")
    made.pod("x", "a", pod("a", "n1", volumes=volume))
    made.pod("x", "b", pod("b", "n1", volumes=volume))

    seen = [made.leads(secret, "n1")]
    made.pod("x", "a", None)
    seen.append(made.leads(secret, "n1"))
    made.pod("x", "b", None)
    seen.append(made.leads(secret, "n1"))

    assert seen == [True, True, False]


def test_a_pod_that_refers_twice_to_a_secret_is_forgotten_whole() -> None:
    made = Graph()
    made.pod("x", "a", pod("a", "n1", imagePullSecrets=[{"name": "s"}, {"name": "s"}]))

    made.pod("x", "a", None)

    assert not made.leads(("secret", "x", "s"), "n1")


def test_a_pod_that_is_not_bound_leads_nowhere() -> None:
    made = Graph()
    made.pod("x", "a", pod("a", "", imagePullSecrets=[{"name": "s"}]))

    assert not made.leads(("secret", "x", "s"), "")


@pytest.mark.parametrize(
    ("user", "node"),
    [
        (N1, "n1"),
        (User("system:node:n1", ()), None),
        (User("alice", ("system:nodes",)), None),
        (User("system:node:", ("system:nodes",)), ""),
    ],
)
def test_only_members_of_system_nodes_with_a_node_name_are_nodes(user: User, node: str | None) -> None:
    assert node_of(user) == node


def test_a_node_without_a_name_is_told_so() -> None:
    nameless = User("system:node:", ("system:nodes",))

    assert Authorizer(graph(), RULES).authorize(ask(nameless, "list -/services")).reason == (
        'unknown node for user "system:node:"'
    )
