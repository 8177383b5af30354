"""What kubelets may write, request by request."""

from typing import Any

import pytest

from kybern.admission.framework import Request
from kybern.admission.plugins.node_restriction import PLUGIN
from kybern.auth.user import User
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import admitted, named, stored, write

N1 = User("system:node:n1", ("system:nodes",))
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-n1", "controller": True}
LOOKUP = stored(
    ("nodes", named("n1")),
    ("pods", named("mine", "x", spec={"nodeName": "n1"})),
    ("pods", named("theirs", "x", spec={"nodeName": "n2"})),
)


def mirror(metadata: Raw | None = None, **spec: Any) -> Raw:
    made = {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [OWNER]}
    return named("m", "x", metadata=made | (metadata or {}), spec={"nodeName": "n1"} | spec)


def node(name: str = "n1", *, taints: tuple[str, ...] = (), owners: int = 0, **labels: str) -> Raw:
    spelled = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
    metadata = {"labels": spelled, "ownerReferences": [OWNER] * owners}
    return named(name, metadata=metadata, spec={"taints": [{"key": key} for key in taints]})


def by_node(
    operation: str, plural: str, new: Raw | None = None, old: Raw | None = None, **more: Any
) -> Request:
    return write(operation, plural, new, old, user=N1, lookup=LOOKUP, **more)


def token(**ref: str) -> Raw:
    return {"metadata": {}, "spec": {"boundObjectRef": ref}}


POD = named("mine", "x", spec={"nodeName": "n1"})
OTHER = named("theirs", "x", spec={"nodeName": "n2"})
LABELLED = named("mine", "x", metadata={"labels": {"a": "b"}}, spec={"nodeName": "n1"})
CLAIM = named("c", "x", status={"phase": "Bound"})


@pytest.mark.parametrize(
    "request_",
    [
        write("CREATE", "pods", OTHER, user=User("alice")),
        by_node("CREATE", "pods", mirror()),
        by_node("DELETE", "pods", old=POD),
        by_node("DELETE", "pods", name="mine"),
        by_node("UPDATE", "pods/status", POD | {"status": {"phase": "Running"}}, POD),
        by_node("CREATE", "pods/eviction", named("mine"), name="mine"),
        by_node(
            "CREATE",
            "nodes",
            node(kubernetes_io__hostname="n1", example_com__x="y", node_kubernetes_io__z="1"),
        ),
        by_node("UPDATE", "nodes", node(plain="1"), node()),
        by_node("UPDATE", "nodes/status", node(), node()),
        by_node(
            "UPDATE",
            "persistentvolumeclaims/status",
            CLAIM | {"status": {"phase": "Bound", "capacity": {}}},
            CLAIM,
        ),
        by_node(
            "CREATE", "serviceaccounts/token", token(apiVersion="v1", kind="Pod", name="mine", uid="uid-mine")
        ),
        by_node("CREATE", "leases", named("n1"), namespace="kube-node-lease"),
        by_node("UPDATE", "leases", named("n1"), named("n1"), namespace="kube-node-lease"),
        by_node("CREATE", "csinodes", named("n1")),
        by_node("CREATE", "resourceslices", named("s", spec={"nodeName": "n1"})),
        by_node("CREATE", "configmaps", named("c")),
    ],
)
async def test_a_node_may_write(request_: Request) -> None:
    assert await admitted(PLUGIN, request_) == ""


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (
            by_node("CREATE", "pods", named("p", "x", spec={"nodeName": "n1"})),
            (
                'pods "p" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only'
                " create mirror pods"
            ),
        ),
        (
            by_node("CREATE", "pods", mirror(nodeName="n2")),
            "can only create pods with spec.nodeName set to itself",
        ),
        (by_node("CREATE", "pods", mirror({"ownerReferences": []})), "with an owner reference set to itself"),
        (
            by_node("CREATE", "pods", mirror({"ownerReferences": [OWNER, OWNER]})),
            "with a single owner reference set to itself",
        ),
        (
            by_node("CREATE", "pods", mirror({"ownerReferences": [OWNER | {"name": "n2"}]})),
            "an owner reference set to itself",
        ),
        (
            by_node("CREATE", "pods", mirror({"ownerReferences": [OWNER | {"controller": False}]})),
            "a controller owner reference set to itself",
        ),
        (
            by_node("CREATE", "pods", mirror({"ownerReferences": [OWNER | {"blockOwnerDeletion": True}]})),
            "must not set blockOwnerDeletion on an owner reference",
        ),
        (
            by_node("CREATE", "pods", mirror({"ownerReferences": [OWNER | {"uid": "old"}]})),
            "node n1 UID mismatch: expected old got uid-n1",
        ),
        (
            by_node("CREATE", "pods", mirror(serviceAccountName="a")),
            "can not create pods that reference a service account",
        ),
        (
            by_node("CREATE", "pods", mirror(imagePullSecrets=[{"name": "s"}])),
            "can not create pods that reference secrets",
        ),
        (
            by_node("CREATE", "pods", mirror(volumes=[{"name": "v", "configMap": {"name": "c"}}])),
            "can not create pods that reference configmaps",
        ),
        (
            by_node(
                "CREATE", "pods", mirror(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
            ),
            "can not create pods that reference persistentvolumeclaims",
        ),
        (
            by_node(
                "CREATE",
                "pods",
                mirror(
                    volumes=[{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}]
                ),
            ),
            "can not create pods that reference clustertrustbundles",
        ),
        (
            by_node("CREATE", "pods", mirror(resourceClaims=[{"name": "r", "resourceClaimName": "c"}])),
            "can not create pods that reference resourceclaims",
        ),
        (
            by_node("UPDATE", "pods", POD, POD),
            'unexpected operation "UPDATE", node "n1" can only create and delete mirror pods',
        ),
        (
            by_node("DELETE", "pods", old=OTHER),
            'node "n1" can only delete pods with spec.nodeName set to itself',
        ),
        (by_node("DELETE", "pods", name="absent"), 'pods "absent" not found'),
        (
            by_node("CREATE", "pods/binding", POD),
            "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed",
        ),
        (
            by_node("UPDATE", "pods/status", OTHER, OTHER),
            "can only update pod status for pods with spec.nodeName set to itself",
        ),
        (
            by_node("UPDATE", "pods/status", LABELLED, POD),
            'node "n1" cannot update labels through pod status',
        ),
        (
            by_node(
                "UPDATE", "pods/status", POD | {"status": {"resourceClaimStatuses": [{"name": "r"}]}}, POD
            ),
            'node "n1" cannot update resource claim statues',
        ),
        (
            by_node("CREATE", "pods/eviction", named("theirs"), name="theirs"),
            "node n1 can only evict pods with spec.nodeName set to itself",
        ),
        (
            by_node("CREATE", "nodes", node("n2")),
            'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"',
        ),
        (
            by_node(
                "CREATE",
                "nodes",
                node(kubernetes_io__b="2", x_k8s_io__c="3"),
            ),
            "is not allowed to set the following labels: kubernetes.io/b, x.k8s.io/c",
        ),
        (
            by_node(
                "CREATE",
                "nodes",
                named("n1", metadata={"labels": {"a.node-restriction.kubernetes.io/b": "c"}}),
            ),
            "is not allowed to set the following labels: a.node-restriction.kubernetes.io/b",
        ),
        (
            by_node("UPDATE", "nodes", node(), node(kubernetes_io__b="2")),
            "is not allowed to modify labels: kubernetes.io/b",
        ),
        (
            by_node("UPDATE", "nodes", node(taints=("a",)), node()),
            'node "n1" is not allowed to modify taints',
        ),
        (
            by_node("UPDATE", "nodes", node(owners=1), node()),
            'node "n1" is not allowed to modify ownerReferences',
        ),
        (by_node("UPDATE", "persistentvolumeclaims", CLAIM, CLAIM), "may only update PVC status"),
        (
            by_node("UPDATE", "persistentvolumeclaims/status", CLAIM | {"status": {"phase": "Lost"}}, CLAIM),
            "is not allowed to update fields other than status.capacity and status.conditions",
        ),
        (
            by_node("CREATE", "serviceaccounts/token", {"metadata": {}, "spec": {}}),
            "node requested token not bound to a pod",
        ),
        (
            by_node("CREATE", "serviceaccounts/token", token(apiVersion="v1", kind="Pod", name="mine")),
            "node requested token with a pod binding without a uid",
        ),
        (
            by_node(
                "CREATE", "serviceaccounts/token", token(apiVersion="v1", kind="Pod", name="mine", uid="zz")
            ),
            "the UID in the bound object reference (zz) does not match the UID in record.",
        ),
        (
            by_node(
                "CREATE",
                "serviceaccounts/token",
                token(apiVersion="v1", kind="Pod", name="theirs", uid="uid-theirs"),
            ),
            "node requested token bound to a pod scheduled on a different node",
        ),
        (
            by_node("CREATE", "leases", named("n1")),
            'can only access leases in the "kube-node-lease" system namespace',
        ),
        (
            by_node("CREATE", "leases", named("n2"), namespace="kube-node-lease"),
            "can only access node lease with the same name as the requesting node",
        ),
        (
            by_node("DELETE", "csinodes", old=named("n2")),
            "can only access CSINode with the same name as the requesting node",
        ),
        (
            by_node("DELETE", "resourceslices", old=named("s", spec={"nodeName": "n2"})),
            "can only delete ResourceSlice with the same NodeName as the requesting node",
        ),
        (
            write("CREATE", "leases", named("c"), user=User("system:node:", ("system:nodes",))),
            'could not determine node from user "system:node:"',
        ),
    ],
)
async def test_a_node_may_not_write(request_: Request, says: str) -> None:
    refusal = await admitted(PLUGIN, request_)

    assert refusal.endswith(says) or says in refusal
    assert refusal
