"""Writes to put before admission plugins, and stored objects for them to look up."""

from dataclasses import dataclass, field
from typing import Any

from kybern.admission.framework import Plugin, Request
from kybern.auth.user import User
from kybern.machinery.errors import ApiError
from kybern.machinery.kind import Kind, Raw

ADMIN = User("admin", ("system:masters",))
NAMESPACED = {
    "pods",
    "persistentvolumeclaims",
    "services",
    "configmaps",
    "serviceaccounts",
    "leases",
    "ingresses",
    "secrets",
}
GROUPS = {
    "priorityclasses": "scheduling.k8s.io",
    "leases": "coordination.k8s.io",
    "csinodes": "storage.k8s.io",
    "storageclasses": "storage.k8s.io",
    "volumeattributesclasses": "storage.k8s.io",
    "resourceslices": "resource.k8s.io",
    "ingresses": "networking.k8s.io",
    "ingressclasses": "networking.k8s.io",
    "certificatesigningrequests": "certificates.k8s.io",
    "clustertrustbundles": "certificates.k8s.io",
    "localsubjectaccessreviews": "authorization.k8s.io",
    "runtimeclasses": "node.k8s.io",
    "deployments": "apps",
}


@dataclass
class Objects:
    """What is stored, and what of it the cache knows (all, unless ``behind``)."""

    kept: list[tuple[str, Raw]] = field(default_factory=list)
    behind: bool = False
    live: int = 0

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        return None if self.behind else self._find(group, plural, namespace, name)

    async def labels(self, group: str, plural: str, namespace: str, name: str) -> dict[str, str] | None:
        found = await self.get(group, plural, namespace, name)
        return None if found is None else found["metadata"].get("labels") or {}

    async def get_live(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        self.live += 1
        return self._find(group, plural, namespace, name)

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Raw]:
        return [
            one
            for kind, one in self.kept
            if kind == plural
            and GROUPS.get(kind, "") == group
            and namespace in ("", one["metadata"].get("namespace"))
        ]

    def _find(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        wanted = (group, plural, namespace, name)
        for kind, one in self.kept:
            metadata = one["metadata"]
            if (GROUPS.get(kind, ""), kind, metadata.get("namespace", ""), metadata["name"]) == wanted:
                return one
        return None


def stored(*objects: tuple[str, Raw], behind: bool = False) -> Objects:
    return Objects(list(objects), behind)


def named(name: str, namespace: str = "", **fields: Any) -> Raw:
    metadata = {"name": name, "uid": f"uid-{name}"} | ({"namespace": namespace} if namespace else {})
    extra = fields.pop("metadata", {})
    return {"metadata": metadata | extra, **fields}


def write(
    operation: str, plural: str, new: Raw | None = None, old: Raw | None = None, **more: Any
) -> Request:
    """A write; ``plural`` may name a subresource: ``pods/status``."""
    plural, _, subresource = plural.partition("/")
    group = GROUPS.get(plural, "")
    kind = Kind(group, "v1", plural.capitalize(), plural, plural in NAMESPACED, "")
    shown = new or old or named("x")
    more.setdefault("lookup", stored())
    return Request(
        operation=operation,
        kind=kind,
        namespace=more.pop("namespace", "x" if plural in NAMESPACED else ""),
        name=more.pop("name", "" if operation == "CREATE" else shown["metadata"]["name"]),
        subresource=subresource,
        user=more.pop("user", ADMIN),
        new=new,
        old=old,
        **more,
    )


async def admitted(plugin: Plugin, request: Request) -> str:
    """Runs a plugin; "" when the write passes, else what the refusal says."""
    try:
        for hook in (plugin.mutate, plugin.validate):
            if hook is not None:
                await hook(request)
    except ApiError as error:
        return error.message
    return ""
