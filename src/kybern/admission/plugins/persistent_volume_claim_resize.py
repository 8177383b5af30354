"""Claims grow only when they are bound and their storage class can grow volumes."""

from kybern.admission.framework import Plugin, Request, refused
from kybern.machinery.kind import Raw
from kybern.machinery.quantity import Quantity, parse

BETA = "volume.beta.kubernetes.io/storage-class"


async def validate(request: Request) -> None:
    new, old = request.new, request.old
    if new is None or old is None or request.subresource or request.operation != "UPDATE":
        return
    if _size(new) <= _size(old):
        return
    if (old.get("status") or {}).get("phase") != "Bound":
        raise refused(request, "only bound persistent volume claims can be expanded")
    name = _class(new)
    found = await request.lookup.get("storage.k8s.io", "storageclasses", "", name) if name else None
    if name != _class(old) or found is None or not found.get("allowVolumeExpansion"):
        raise refused(
            request,
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support"
            " resize",
        )


def _size(claim: Raw) -> Quantity:
    asked = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return parse(asked.get("storage", "0"))


def _class(claim: Raw) -> str:
    old_way = (claim["metadata"].get("annotations") or {}).get(BETA)
    name: str = old_way or (claim.get("spec") or {}).get("storageClassName") or ""
    return name


PLUGIN = Plugin(
    "PersistentVolumeClaimResize", validate=validate, resources=frozenset({("", "persistentvolumeclaims")})
)
