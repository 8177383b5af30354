"""ServiceCIDR: a range that cluster IPs come from."""

from collections.abc import Iterator

from kybern.api.rules.causes import IMMUTABLE, all_invalid, invalid, required, unchanged
from kybern.api.rules.formats import cidr
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import dig, simple
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules


def _default(raw: Raw) -> None:
    raw.setdefault("spec", {})
    raw.setdefault("status", {})


_FAMILIES = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


def _validate(new: Raw, old: Raw | None) -> Iterator[Cause]:
    found = dig(new, "spec", "cidrs") or []
    if old is not None:
        yield from _update(dig(new, "spec", "cidrs"), dig(old, "spec", "cidrs") or [])
        return
    if not found:
        yield required("spec.cidrs", "at least one CIDR required")
    elif len(found) > 2 or (all(found) and len(found) == 2 and (":" in found[0]) == (":" in found[1])):
        yield invalid("spec.cidrs", found, _FAMILIES)
    for i, text in enumerate(found):
        yield from all_invalid(f"spec.cidrs[{i}]", text, cidr(text))


def _update(found: list[str] | None, was: list[str]) -> Iterator[Cause]:
    """A second family may come later; what is there stays."""
    if len(found or ()) < len(was):
        yield invalid("spec.cidrs", found, IMMUTABLE)
        return
    for i, (text, before) in enumerate(zip(found or (), was, strict=False)):
        yield from unchanged(f"spec.cidrs[{i}]", text, before)


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
    rules=Rules(default=_default, validate=_validate),
    storage_version_hash="gNLvruQhW2g=",
)
