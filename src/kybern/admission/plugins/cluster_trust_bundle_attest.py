"""Who publishes trust anchors of a signer must be allowed to attest for it (KEP-3257)."""

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.signers import GROUP, may
from kybern.machinery.kind import Raw

# What may change by itself: by the garbage collector, and by writing anew what is stored.
_FREE = ("ownerReferences", "finalizers", "managedFields", "selfLink", "resourceVersion")


async def validate(request: Request) -> None:
    if request.operation not in ("CREATE", "UPDATE"):
        return
    new = request.new or {}
    signer = (new.get("spec") or {}).get("signerName") or ""
    if not signer or (request.old is not None and _same(new, request.old)):
        return
    if not await may(request, "attest", signer):
        raise refused(request, f'user not permitted to attest for signerName "{signer}"')


def _same(new: Raw, old: Raw) -> bool:
    """Whether nothing is changed that anybody means something by."""
    return _meant(new) == _meant(old)


def _meant(raw: Raw) -> Raw:
    metadata = {key: value for key, value in raw["metadata"].items() if key not in _FREE}
    return {key: value for key, value in raw.items() if key not in ("apiVersion", "kind")} | {
        "metadata": metadata
    }


PLUGIN = Plugin(
    "ClusterTrustBundleAttest", validate=validate, resources=frozenset({(GROUP, "clustertrustbundles")})
)
