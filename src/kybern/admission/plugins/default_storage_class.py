"""A claim that names no storage class gets the default one."""

from kybern.admission.framework import Plugin, Request
from kybern.admission.newest import newest

ANNOTATIONS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
BETA = "volume.beta.kubernetes.io/storage-class"


async def mutate(request: Request) -> None:
    claim = request.new
    if claim is None or request.subresource or request.operation != "CREATE":
        return
    spec = claim.setdefault("spec", {})
    if spec.get("storageClassName") is not None or BETA in (claim["metadata"].get("annotations") or {}):
        return
    default = newest(await request.lookup.list("storage.k8s.io", "storageclasses"), ANNOTATIONS)
    if default is not None:
        spec["storageClassName"] = default["metadata"]["name"]


PLUGIN = Plugin("DefaultStorageClass", mutate=mutate, resources=frozenset({("", "persistentvolumeclaims")}))
