"""ServiceCIDR: a range that cluster IPs come from."""

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})
    raw.setdefault("status", {})


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    schema="io.k8s.api.networking.v1.ServiceCIDR",
    singular="servicecidr",
    storage="servicecidrs",
    subresources=(status("ServiceCIDR", "networking.k8s.io"),),
    table=simple((Column("CIDRs"),), lambda raw: [",".join(dig(raw, "spec", "cidrs") or ())]),
    rules=Rules(default=_default),
    storage_version_hash="gNLvruQhW2g=",
)
