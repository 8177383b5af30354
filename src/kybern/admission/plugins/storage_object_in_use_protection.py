"""Volumes, claims and their attribute classes stay until nobody uses them: a controller takes the finalizer away."""

from kybern.admission.framework import Plugin, Request

FINALIZERS = {
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}


async def mutate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation != "CREATE":
        return
    metadata = request.new["metadata"]
    finalizer = FINALIZERS[request.kind.group, request.kind.plural]
    held = metadata.get("finalizers") or []
    if finalizer not in held:
        metadata["finalizers"] = [*held, finalizer]


PLUGIN = Plugin("StorageObjectInUseProtection", mutate=mutate, resources=frozenset(FINALIZERS))
