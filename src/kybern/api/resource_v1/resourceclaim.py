"""ResourceClaim: a wish for devices, and those that it got."""

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import deleting, dig, simple
from kybern.machinery.kind import Column, Kind, Raw


def _state(raw: Raw) -> str:
    found = ["deleted"] if deleting(raw) else []
    if not dig(raw, "status", "allocation"):
        return ",".join(found) or "pending"
    found.append("allocated")
    if dig(raw, "status", "reservedFor"):
        found.append("reserved")
    return ",".join(found)


KIND = Kind(
    group="resource.k8s.io",
    version="v1",
    kind="ResourceClaim",
    plural="resourceclaims",
    namespaced=True,
    schema="io.k8s.api.resource.v1.ResourceClaim",
    singular="resourceclaim",
    storage="resourceclaims",
    subresources=(status("ResourceClaim", "resource.k8s.io"),),
    table=simple((Column("State"),), lambda raw: [_state(raw)]),
    storage_version_hash="wgAZaHcZxUg=",
)
