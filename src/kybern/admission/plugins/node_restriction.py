"""A kubelet writes only its own Node, Lease and CSINode, and only pods that are bound to it.

The Node authorizer decides what kubelets may touch at all; this looks into what they send.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kybern.admission.framework import Plugin, Request, refused
from kybern.auth import references
from kybern.auth.node import LEASES, node_of
from kybern.machinery.errors import Details, NotFound
from kybern.machinery.kind import Raw

KUBELET_LABELS = frozenset({
    "kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "kubernetes.io/os", "kubernetes.io/arch",
    "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
})  # fmt: skip
KUBELET_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")
RESTRICTED = "node-restriction.kubernetes.io"


async def check(request: Request) -> None:
    node = node_of(request.user)
    if node is None:
        return
    if not node:
        raise refused(request, f'could not determine node from user "{request.user.name}"')
    judge = _JUDGES.get((request.kind.group, request.kind.plural))
    if judge is not None:
        await judge(request, node)


async def _pod(request: Request, node: str) -> None:
    if request.subresource == "":
        await _whole_pod(request, node)
    elif request.subresource == "status":
        _pod_status(request, node)
    elif request.subresource == "eviction":
        await _eviction(request, node)
    else:
        text = (
            f"unexpected pod subresource \"{request.subresource}\", only 'status' and 'eviction' are allowed"
        )
        raise refused(request, text)


async def _whole_pod(request: Request, node: str) -> None:
    if request.operation == "CREATE":
        await _created_pod(request, node, request.new or {})
    elif request.operation == "DELETE":
        pod = request.old or await _get(request, "pods", request.namespace, request.name)
        if _node_name(pod) != node:
            raise refused(request, f'node "{node}" can only delete pods with spec.nodeName set to itself')
    else:
        text = f'unexpected operation "{request.operation}", node "{node}" can only create and delete mirror pods'
        raise refused(request, text)


async def _created_pod(request: Request, node: str, pod: Raw) -> None:
    if references.MIRROR not in (pod["metadata"].get("annotations") or {}):
        raise refused(
            request,
            f'pod does not have "{references.MIRROR}" annotation, node "{node}" can only create mirror pods',
        )
    if _node_name(pod) != node:
        raise refused(request, f'node "{node}" can only create pods with spec.nodeName set to itself')
    await _owned_by_node(request, node, pod["metadata"].get("ownerReferences") or [])
    if (pod.get("spec") or {}).get("serviceAccountName"):
        raise refused(request, f'node "{node}" can not create pods that reference a service account')
    for names, word in (
        (references.secrets(pod), "secrets"),
        (references.config_maps(pod), "configmaps"),
        (references.resource_claims(pod), "resourceclaims"),
        (_bundles(pod), "clustertrustbundles"),
        (_claims(pod), "persistentvolumeclaims"),
    ):
        if any(True for _ in names):
            raise refused(request, f'node "{node}" can not create pods that reference {word}')


def _bundles(pod: Raw) -> list[Any]:
    return [
        source
        for volume in references.volumes(pod)
        for source in (volume.get("projected") or {}).get("sources") or ()
        if source.get("clusterTrustBundle")
    ]


def _claims(pod: Raw) -> list[Any]:
    return [volume for volume in references.volumes(pod) if volume.get("persistentVolumeClaim")]


async def _owned_by_node(request: Request, node: str, owners: list[Any]) -> None:
    say = f'node "{node}"'
    if len(owners) > 1:
        raise refused(request, f"{say} can only create pods with a single owner reference set to itself")
    owner = owners[0] if owners else {}
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        raise refused(request, f"{say} can only create pods with an owner reference set to itself")
    if not owner.get("controller"):
        raise refused(request, f"{say} can only create pods with a controller owner reference set to itself")
    if owner.get("blockOwnerDeletion"):
        raise refused(request, f"{say} must not set blockOwnerDeletion on an owner reference")
    uid = (await _get(request, "nodes", "", node))["metadata"]["uid"]
    if owner.get("uid") != uid:
        raise refused(request, f"node {node} UID mismatch: expected {owner.get('uid', '')} got {uid}")


def _pod_status(request: Request, node: str) -> None:
    if request.operation != "UPDATE" or request.old is None or request.new is None:
        raise refused(request, f'unexpected operation "{request.operation}"')
    old, new = request.old, request.new
    if _node_name(old) != node:
        text = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'  # noqa: S608  # no SQL
        raise refused(request, text)
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        raise refused(request, f'node "{node}" cannot update labels through pod status')
    if _statuses(old) != _statuses(new):
        raise refused(request, f'node "{node}" cannot update resource claim statues')


def _statuses(pod: Raw) -> Any:
    status = pod.get("status") or {}
    return status.get("resourceClaimStatuses") or [], status.get("extendedResourceClaimStatus")


async def _eviction(request: Request, node: str) -> None:
    if request.operation != "CREATE":
        raise refused(request, f"unexpected operation {request.operation}")
    name = request.name or ((request.new or {}).get("metadata") or {}).get("name", "")
    if not name:
        raise refused(request, "could not determine pod from request data")
    if _node_name(await _get(request, "pods", request.namespace, name)) != node:
        raise refused(request, f"node {node} can only evict pods with spec.nodeName set to itself")


async def _node(request: Request, node: str) -> None:
    name = request.name or ((request.new or {}).get("metadata") or {}).get("name", "")
    if name != node:
        raise refused(request, f'node "{node}" is not allowed to modify node "{name}"')
    new, old = request.new or {}, request.old or {}
    if request.operation == "CREATE":
        _node_created(request, node, new)
    if request.operation == "UPDATE":
        _node_updated(request, node, new, old)


def _node_created(request: Request, node: str, new: Raw) -> None:
    if (new.get("spec") or {}).get("configSource"):
        raise refused(request, f'node "{node}" is not allowed to create pods with a non-nil configSource')
    labels = _forbidden_labels(_labels(new), {})
    if labels:
        raise refused(
            request, f'node "{node}" is not allowed to set the following labels: {", ".join(labels)}'
        )
    if new["metadata"].get("ownerReferences"):
        raise refused(request, f'node "{node}" is not allowed to set ownerReferences')


def _node_updated(request: Request, node: str, new: Raw, old: Raw) -> None:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if spec.get("configSource") and spec["configSource"] != before.get("configSource"):
        raise refused(
            request, f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
        )
    if (spec.get("taints") or []) != (before.get("taints") or []):
        raise refused(request, f'node "{node}" is not allowed to modify taints')
    labels = _forbidden_labels(_labels(new), _labels(old))
    if labels:
        raise refused(request, f"is not allowed to modify labels: {', '.join(labels)}")
    if (new["metadata"].get("ownerReferences") or []) != (old["metadata"].get("ownerReferences") or []):
        raise refused(request, f'node "{node}" is not allowed to modify ownerReferences')


def _labels(node: Raw) -> Mapping[str, str]:
    return node["metadata"].get("labels") or {}


def _forbidden_labels(new: Mapping[str, str], old: Mapping[str, str]) -> list[str]:
    """Labels that change and by which a node could draw other people's pods to itself."""
    changed = {key for key in (*new, *old) if new.get(key) != old.get(key)}
    return sorted(key for key in changed if _is_forbidden(key))


def _is_forbidden(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    if _within(domain, RESTRICTED):
        return True
    if not _within(domain, "kubernetes.io") and not _within(domain, "k8s.io"):
        return False
    return key not in KUBELET_LABELS and not any(_within(domain, one) for one in KUBELET_NAMESPACES)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith("." + parent)


async def _claim(request: Request, node: str) -> None:
    if request.subresource != "status":
        raise refused(request, "may only update PVC status")
    if request.operation != "UPDATE" or request.old is None or request.new is None:
        raise refused(request, f'unexpected operation "{request.operation}"')
    if _claim_rest(request.old) != _claim_rest(request.new):
        raise refused(
            request,
            f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions',
        )


def _claim_rest(claim: Raw) -> Raw:
    """What of a claim is not the kubelet's to change."""
    ours = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")
    status = {key: value for key, value in (claim.get("status") or {}).items() if key not in ours}
    metadata = {
        key: value
        for key, value in claim["metadata"].items()
        if key not in ("resourceVersion", "managedFields")
    }
    return {**claim, "metadata": metadata, "status": status}


async def _service_account(request: Request, node: str) -> None:
    if request.operation != "CREATE" or request.subresource != "token":
        return
    ref = ((request.new or {}).get("spec") or {}).get("boundObjectRef") or {}
    if (ref.get("apiVersion"), ref.get("kind")) != ("v1", "Pod") or not ref.get("name"):
        raise refused(request, "node requested token not bound to a pod")
    if not ref.get("uid"):
        raise refused(request, "node requested token with a pod binding without a uid")
    pod = await _get(request, "pods", request.namespace, ref["name"])
    if pod["metadata"]["uid"] != ref["uid"]:
        raise refused(
            request,
            f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. The object might"
            " have been deleted and then recreated",
        )
    if _node_name(pod) != node:
        raise refused(request, "node requested token bound to a pod scheduled on a different node")


async def _lease(request: Request, node: str) -> None:
    if request.namespace != LEASES:
        raise refused(request, f'can only access leases in the "{LEASES}" system namespace')
    if _own_name(request) != node:
        raise refused(request, "can only access node lease with the same name as the requesting node")


async def _csi_node(request: Request, node: str) -> None:
    if _own_name(request) != node:
        raise refused(request, "can only access CSINode with the same name as the requesting node")


async def _slice(request: Request, node: str) -> None:
    held = request.old if request.operation == "DELETE" else request.new
    name = ((held or {}).get("spec") or {}).get("nodeName", "")
    if name != node:
        word = {"CREATE": "create", "DELETE": "delete"}.get(request.operation, "update")
        raise refused(request, f"can only {word} ResourceSlice with the same NodeName as the requesting node")


def _own_name(request: Request) -> str:
    if request.operation != "CREATE":
        return request.name
    name: str = ((request.new or {}).get("metadata") or {}).get("name", "")
    return name


def _node_name(pod: Raw) -> str:
    name: str = (pod.get("spec") or {}).get("nodeName", "")
    return name


async def _get(request: Request, plural: str, namespace: str, name: str) -> Raw:
    found = await request.lookup.get("", plural, namespace, name)
    found = found or await request.lookup.get_live("", plural, namespace, name)
    if found is None:
        raise NotFound(f'{plural} "{name}" not found', Details(name=name, kind=plural))
    return found


_JUDGES: Mapping[tuple[str, str], Callable[[Request, str], Awaitable[None]]] = {
    ("", "pods"): _pod,
    ("", "nodes"): _node,
    ("", "persistentvolumeclaims"): _claim,
    ("", "serviceaccounts"): _service_account,
    ("coordination.k8s.io", "leases"): _lease,
    ("storage.k8s.io", "csinodes"): _csi_node,
    ("resource.k8s.io", "resourceslices"): _slice,
}

PLUGIN = Plugin("NodeRestriction", mutate=check, default=False, resources=frozenset(_JUDGES))
