"""ResourceClaim: a wish for devices, and those that it got."""

from kybern.api.rules import devicechecks
from kybern.api.rules.devices import default_claim_spec
from kybern.api.rules.emptylists import null_when_empty
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import deleting, dig, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _state(raw: Raw) -> str:
    found = ["deleted"] if deleting(raw) else []
    if not dig(raw, "status", "allocation"):
        return ",".join(found) or "pending"
    found.append("allocated")
    if dig(raw, "status", "reservedFor"):
        found.append("reserved")
    return ",".join(found)


def _default(raw: Raw) -> None:
    default_claim_spec(raw.setdefault("spec", {}))
    raw.setdefault("status", {})


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
    rules=Rules(
        default=_default, forget=null_when_empty("spec.devices.requests"), validate=devicechecks.claim
    ),
    storage_version_hash="wgAZaHcZxUg=",
)
