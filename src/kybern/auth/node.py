"""What kubelets may do: a node reads only what the pods bound to it need.

``Graph`` records for every object that matters the pods and nodes that it leads to: secret, config map, claim and service
account -> pod -> node; secret -> persistent volume -> claim -> pod; volume attachment and resource slice -> node. What a
pod refers to cannot change once it is bound, so most pod updates change nothing here. Mirror pods lead nowhere: a node
could otherwise make one that refers to any secret.

``Authorizer`` answers for users ``system:node:NAME`` in group ``system:nodes``, and has no opinion on others. Kinds that
are not subdivided by node follow the rules of the ClusterRole ``system:node`` as the server ships it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kybern.api.rbac_v1 import PolicyRule
from kybern.auth import references
from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.auth.rules import allows
from kybern.auth.user import User

NODES = "system:nodes"
PREFIX = "system:node:"
LEASES = "kube-node-lease"

type Vertex = tuple[str, str, str]
"""(kind, namespace, name)."""

ALLOW = Decision(Verdict.ALLOW)


def no(reason: str = "") -> Decision:
    return Decision(Verdict.NO_OPINION, reason)


def node_of(user: User) -> str | None:
    """The node that a user is; "" for a node without a name, None for anybody else."""
    if not user.name.startswith(PREFIX) or NODES not in user.groups:
        return None
    return user.name.removeprefix(PREFIX)


class Graph:
    """Which objects lead to which nodes. Edges point from what is read towards the node that may read it."""

    def __init__(self) -> None:
        self._from: dict[Vertex, dict[Vertex, int]] = {}
        self._edges: dict[Vertex, tuple[tuple[Vertex, Vertex], ...]] = {}

    def pod(self, namespace: str, name: str, pod: references.Pod | None) -> None:
        """A pod came, was bound, changed or went (None)."""
        self._replace(("pod", namespace, name), tuple(_pod_edges(namespace, name, pod)) if pod else ())

    def volume(self, name: str, volume: dict[str, Any] | None) -> None:
        """A persistent volume came, changed or went."""
        self._replace(("pv", "", name), tuple(_volume_edges(name, volume)) if volume else ())

    def bound(self, kind: str, name: str, node: str) -> None:
        """A volume attachment ("va") or resource slice ("slice") names a node; "" for none or gone."""
        vertex: Vertex = (kind, "", name)
        self._replace(vertex, ((vertex, ("node", "", node)),) if node else ())

    def _replace(self, owner: Vertex, edges: tuple[tuple[Vertex, Vertex], ...]) -> None:
        """An edge stays as long as one object gives rise to it."""
        for source, target in self._edges.pop(owner, ()):
            targets = self._from[source]
            targets[target] -= 1
            if not targets[target]:
                del targets[target]
            if not targets:
                del self._from[source]
        for source, target in edges:
            targets = self._from.setdefault(source, {})
            targets[target] = targets.get(target, 0) + 1
        if edges:
            self._edges[owner] = edges

    def leads(self, start: Vertex, node: str) -> bool:
        """Whether the node may read the object."""
        goal: Vertex = ("node", "", node)
        seen = {start}
        waiting = [start]
        while waiting:
            for target in self._from.get(waiting.pop(), ()):
                if target == goal:
                    return True
                if target not in seen and target[0] != "node":
                    seen.add(target)
                    waiting.append(target)
        return False


def _pod_edges(namespace: str, name: str, pod: references.Pod) -> Iterator[tuple[Vertex, Vertex]]:
    spec = pod.get("spec") or {}
    node = spec.get("nodeName")
    if not node:
        return
    vertex: Vertex = ("pod", namespace, name)
    yield vertex, ("node", "", node)
    if references.MIRROR in (pod["metadata"].get("annotations") or {}):
        return
    if spec.get("serviceAccountName"):
        yield ("serviceaccount", namespace, spec["serviceAccountName"]), vertex
    for kind, names in (
        ("secret", references.secrets(pod)),
        ("configmap", references.config_maps(pod)),
        ("pvc", references.claims(pod)),
        ("resourceclaim", references.resource_claims(pod)),
    ):
        for referred in names:
            yield (kind, namespace, referred), vertex


_VOLUME_SECRETS = (
    ("azureFile", "secretRef"), ("cephfs", "secretRef"), ("cinder", "secretRef"), ("flexVolume", "secretRef"),
    ("rbd", "secretRef"), ("scaleIO", "secretRef"), ("iscsi", "secretRef"), ("storageos", "secretRef"),
    ("csi", "nodePublishSecretRef"), ("csi", "nodeStageSecretRef"), ("csi", "nodeExpandSecretRef"),
)  # fmt: skip
"""Sources of persistent volumes whose secrets the kubelet reads."""


def _volume_edges(name: str, volume: dict[str, Any]) -> Iterator[tuple[Vertex, Vertex]]:
    spec = volume.get("spec") or {}
    claim = spec.get("claimRef")
    if not claim:
        return
    vertex: Vertex = ("pv", "", name)
    yield vertex, ("pvc", claim.get("namespace", ""), claim.get("name", ""))
    for source, field in _VOLUME_SECRETS:
        named = (spec.get(source) or {}).get(field)
        if named and named.get("name"):
            yield ("secret", named.get("namespace") or claim.get("namespace", ""), named["name"]), vertex
    azure = spec.get("azureFile") or {}
    if azure.get("secretName"):
        yield (
            ("secret", azure.get("secretNamespace") or claim.get("namespace", ""), azure["secretName"]),
            vertex,
        )


class Authorizer:
    """Decides for nodes."""

    def __init__(self, graph: Graph, rules: tuple[PolicyRule, ...]) -> None:
        self.graph = graph
        self._rules = rules
        self._judges: Mapping[tuple[str, str], Callable[[str, Attributes], Decision]] = {
            ("", "secrets"): self._namespaced("secret"),
            ("", "configmaps"): self._namespaced("configmap"),
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._single("pv"),
            ("", "serviceaccounts"): self._service_account,
            ("", "nodes"): _node,
            ("", "pods"): self._pod,
            ("resource.k8s.io", "resourceclaims"): self._single("resourceclaim"),
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("storage.k8s.io", "volumeattachments"): self._single("va"),
            ("storage.k8s.io", "csinodes"): _csi_node,
            ("coordination.k8s.io", "leases"): _lease,
        }

    def authorize(self, asked: Attributes) -> Decision:
        node = node_of(asked.user)
        if node is None:
            return no()
        if not node:
            return no(f'unknown node for user "{asked.user.name}"')
        judge = self._judges.get((asked.group, asked.resource))
        if judge is not None:
            return judge(node, asked)
        return ALLOW if any(allows(rule, asked) for rule in self._rules) else no()

    def _related(self, node: str, kind: str, asked: Attributes) -> Decision:
        if not asked.name:
            return no("No Object name found")
        if self.graph.leads((kind, asked.namespace, asked.name), node):
            return ALLOW
        return no(f"no relationship found between node '{node}' and this object")

    def _namespaced(self, kind: str) -> Callable[[str, Attributes], Decision]:
        def judge(node: str, asked: Attributes) -> Decision:
            if asked.verb not in ("get", "list", "watch"):
                return no("can only read resources of this type")
            if asked.subresource:
                return no("cannot read subresource")
            if not asked.namespace:
                return no("can only read namespaced object of this type")
            return self._related(node, kind, asked)

        return judge

    def _single(self, kind: str) -> Callable[[str, Attributes], Decision]:
        def judge(node: str, asked: Attributes) -> Decision:
            if asked.verb != "get":
                return no("can only get individual resources of this type")
            if asked.subresource:
                return no("cannot get subresource")
            return self._related(node, kind, asked)

        return judge

    def _claim(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource != "status":
            return self._single("pvc")(node, asked)
        if asked.verb not in ("update", "patch"):
            return no("can only get/update/patch this type")
        return self._related(node, "pvc", asked)

    def _service_account(self, node: str, asked: Attributes) -> Decision:
        if asked.verb == "get" and not asked.subresource:
            return self._related(node, "serviceaccount", asked)
        if asked.verb != "create" or not asked.name:
            return no("can only create tokens for individual service accounts")
        if asked.subresource != "token":
            return no("can only create token subresource of serviceaccount")
        return self._related(node, "serviceaccount", asked)

    def _slice(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource:
            return no("cannot authorize ResourceSlice subresources")
        if asked.verb == "create":
            return ALLOW
        if asked.verb in ("get", "update", "patch", "delete"):
            return self._related(node, "slice", asked)
        if asked.verb in ("watch", "list", "deletecollection"):
            if ("spec.nodeName", "=", node) in asked.field_selector:
                return ALLOW
            return no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        return no(
            "only the following verbs are allowed for a ResourceSlice:"
            " get, watch, list, create, update, patch, delete, deletecollection"
        )

    def _pod(self, node: str, asked: Attributes) -> Decision:
        # The NodeRestriction admission plugin sees to it that writes concern only pods of this node.
        if (asked.subresource, asked.verb) in _POD_WRITES:
            return ALLOW
        if asked.subresource or asked.verb not in ("get", "list", "watch"):
            return no()
        if asked.verb == "get":
            return self._related(node, "pod", asked)
        if ("spec.nodeName", "=", node) in asked.field_selector:
            return ALLOW
        if asked.name:
            return self._related(node, "pod", asked)
        return no("can only list/watch pods with spec.nodeName field selector")


_POD_WRITES = frozenset(
    {("", "create"), ("", "delete"), ("status", "update"), ("status", "patch"), ("eviction", "create")}
)
_NODE_WRITES = frozenset(
    {("", "create"), ("", "update"), ("", "patch"), ("status", "update"), ("status", "patch")}
)
_OWN_VERBS = ("get", "create", "update", "patch", "delete")


def _node(node: str, asked: Attributes) -> Decision:
    if (asked.subresource, asked.verb) in _NODE_WRITES:
        return ALLOW
    if asked.subresource or asked.verb not in ("get", "list", "watch"):
        return no()
    if asked.name == node:
        return ALLOW
    if not asked.name:
        return no(f"node '{node}' cannot read all nodes, only its own Node object")
    return no(f"node '{node}' cannot read '{asked.name}', only its own Node object")


def _lease(node: str, asked: Attributes) -> Decision:
    if asked.verb not in _OWN_VERBS:
        return no("can only get, create, update, patch, or delete a node lease")
    if asked.namespace != LEASES:
        return no(f'can only access leases in the "{LEASES}" system namespace')
    if asked.verb != "create" and asked.name != node:
        return no("can only access node lease with the same name as the requesting node")
    return ALLOW


def _csi_node(node: str, asked: Attributes) -> Decision:
    if asked.verb not in _OWN_VERBS:
        return no("can only get, create, update, patch, or delete a CSINode")
    if asked.subresource:
        return no("cannot authorize CSINode subresources")
    if asked.verb != "create" and asked.name != node:
        return no("can only access CSINode with the same name as the requesting node")
    return ALLOW
