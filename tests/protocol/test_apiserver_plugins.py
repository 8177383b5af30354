"""Admission plugins that are off by default, all at once in one API server: each is tried by real requests."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.protocol.apiserver_bed import Lab, Server

pytestmark = pytest.mark.etcd

TOLERATION = {"key": "tenant", "operator": "Exists", "effect": "NoSchedule"}
ALLOWED = [
    TOLERATION,
    {"key": "device.io/thing", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
]
SETTINGS = [
    {
        "name": "PodNodeSelector",
        "configuration": {
            "podNodeSelectorPluginConfig": {
                "clusterDefaultNodeSelector": "pool=usual",
                "narrow": "pool=usual",
            }
        },
    },
    {
        "name": "PodTolerationRestriction",
        "configuration": {
            "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1",
            "kind": "Configuration",
            "default": [TOLERATION],
            "whitelist": ALLOWED,
        },
    },
]
NAMES = (
    "AlwaysAdmit",
    "ExtendedResourceToleration",
    "LimitPodHardAntiAffinityTopology",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "OwnerReferencesPermissionEnforcement",
    "PodNodeSelector",
    "PodTolerationRestriction",
)
"""All but AlwaysDeny, with which no server gets ready."""


@pytest.fixture(scope="module")
def server(etcd: Any, tmp_path_factory: pytest.TempPathFactory, free_ports: Any) -> Iterator[Server]:
    lab = Lab(tmp_path_factory.mktemp("plugins"), etcd)
    settings = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": SETTINGS,
    }
    lab.write("admission.yaml", yaml.safe_dump(settings).encode())
    try:
        yield lab.start(
            free_ports(),
            "--endpoint-reconciler-type=none",
            f"--enable-admission-plugins={','.join(NAMES)}",
            # A pod's service account would have to be made first; it is of no matter here.
            "--disable-admission-plugins=ServiceAccount",
            f"--admission-control-config-file={lab.directory}/admission.yaml",
        )
    finally:
        lab.stop()


def pod(namespace: str, **spec: Any) -> tuple[str, dict[str, Any]]:
    containers = [{"name": "c", "image": "busybox:1.36", **spec.pop("container", {})}]
    path = f"/api/v1/namespaces/{namespace}/pods"
    return path, {"metadata": {"generateName": "p-"}, "spec": {"containers": containers, **spec}}


def make_namespace(server: Server, name: str, **annotations: str) -> None:
    prefix = "scheduler.alpha.kubernetes.io"
    found = {f"{prefix}/{key.replace('_', '-')}": value for key, value in annotations.items()}
    code, answer = server.ask(
        "POST", "/api/v1/namespaces", {"metadata": {"name": name, "annotations": found}}
    )
    assert code == 201, answer


def test_a_namespace_is_made_by_the_first_thing_in_it(server: Server) -> None:
    item = {"metadata": {"name": "a"}}

    tried, _ = server.ask("POST", "/api/v1/namespaces/dry/configmaps?dryRun=All", item)
    made, _ = server.ask("POST", "/api/v1/namespaces/wet/configmaps", item)

    assert (tried, made) == (404, 201)
    assert server.ask("GET", "/api/v1/namespaces/dry")[0] == 404
    code, namespace = server.ask("GET", "/api/v1/namespaces/wet")
    assert (code, namespace["status"]["phase"]) == (200, "Active")
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "wet"}


def test_nothing_is_deleted_in_a_namespace_that_is_absent(server: Server) -> None:
    code, answer = server.ask("DELETE", "/api/v1/namespaces/absent/configmaps/a")

    assert (code, answer["reason"]) == (404, "NotFound")


def test_pods_get_the_nodes_and_tolerations_of_the_cluster(server: Server) -> None:
    code, made = server.ask("POST", *pod("default", nodeSelector={"disk": "fast"}))

    assert code == 201, made
    assert made["spec"]["nodeSelector"] == {"disk": "fast", "pool": "usual"}
    assert TOLERATION in made["spec"]["tolerations"]


def test_a_pod_that_asks_for_a_device_tolerates_its_nodes(server: Server) -> None:
    resources = {"requests": {"device.io/thing": "1"}, "limits": {"device.io/thing": "1"}}
    code, made = server.ask("POST", *pod("default", container={"resources": resources}))

    assert code == 201, made
    assert {"key": "device.io/thing", "operator": "Exists", "effect": "NoSchedule"} in made["spec"][
        "tolerations"
    ]


def test_a_namespace_may_have_other_nodes_and_tolerations(server: Server) -> None:
    make_namespace(server, "own", node_selector="pool=own", defaultTolerations="[]")

    code, made = server.ask("POST", *pod("own"))
    refused, answer = server.ask("POST", *pod("own", nodeSelector={"pool": "usual"}))

    assert code == 201, made
    assert made["spec"]["nodeSelector"] == {"pool": "own"}
    assert TOLERATION not in made["spec"]["tolerations"]
    assert (refused, answer["message"]) == (
        403,
        "pods is forbidden: pod node label selector conflicts with its namespace node label selector",
    )


def test_labels_and_tolerations_beyond_what_is_allowed_are_refused(server: Server) -> None:
    make_namespace(server, "narrow")

    labels, told = server.ask("POST", *pod("narrow", nodeSelector={"disk": "fast"}))
    tolerates, answer = server.ask("POST", *pod("default", tolerations=[{"operator": "Exists"}]))

    assert (labels, told["message"]) == (
        403,
        "pods is forbidden: pod node label selector labels conflict with its namespace whitelist",
    )
    assert (tolerates, answer["message"], answer.get("reason")) == (
        500,
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its cluster whitelist",
        None,
    )


def test_a_pod_keeps_others_away_from_its_node_at_most(server: Server) -> None:
    term = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "topology.kubernetes.io/zone"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}

    code, answer = server.ask("POST", *pod("default", affinity=affinity))

    assert code == 403
    assert answer["message"].endswith(
        "is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
        "topology.kubernetes.io/zone but only key kubernetes.io/hostname is allowed"
    )


def test_owners_are_set_by_those_who_may_delete(server: Server) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    rights = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "update"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}
    assert server.ask("POST", f"{rights}/roles", {"metadata": {"name": "writer"}, "rules": [rule]})[0] == 201
    binding = {"metadata": {"name": "writer"}, "roleRef": role, "subjects": [subject]}
    assert server.ask("POST", f"{rights}/rolebindings", binding)[0] == 201
    code, owner = server.ask("POST", path, {"metadata": {"name": "owner"}})
    assert code == 201
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    waiting = {"metadata": {"name": "waits", "ownerReferences": [{**reference, "blockOwnerDeletion": True}]}}
    no_block = (
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
    )

    assert server.ask("POST", path, owned, identity="nobody")[0] == 201
    refused, waits = server.ask("POST", path, waiting, identity="nobody")
    changed, change = server.ask("PUT", f"{path}/owned", {"metadata": {"name": "owned"}}, identity="nobody")

    assert (refused, waits["message"]) == (
        403,
        f'configmaps "waits" is forbidden: {no_block}: , <nil>',
    )
    assert (changed, change["message"]) == (
        403,
        'configmaps "owned" is forbidden: cannot set an ownerRef on a resource you can\'t delete: , <nil>',
    )
    assert server.ask("POST", path, waiting)[0] == 201
    assert server.ask("PUT", f"{path}/owned", {"metadata": {"name": "owned"}})[0] == 200
