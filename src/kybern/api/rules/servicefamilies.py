"""The addresses of a service and their families: each of its own family, the first for good, a second with the policy.

By upstream's ValidateServiceClusterIPsRelatedFields, validateUpgradeDowngradeClusterIPs and
validateUpgradeDowngradeIPFamilies (pkg/apis/core/validation). The first of them comes before all others there, and families
that are not said are those of the addresses by the time of the last: so a list that is shorter than theirs is no change.
"""

from collections.abc import Iterator, Sequence

from kybern.api.rules.causes import invalid
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_OF = ("IPv4", "IPv6")
_KEPT = "may not change once set"


def _of(address: str) -> str:
    return _OF[":" in address]


def _families(spec: Raw) -> list[str]:
    """Those that are said, and after them those of the addresses."""
    said = list(spec.get("ipFamilies") or ())
    return said + [_of(address) for address in (spec.get("clusterIPs") or [])[len(said) :]]


def matching(spec: Raw) -> Iterator[Cause]:
    """Every address is of the family at its place."""
    pairs = zip(spec.get("clusterIPs") or (), spec.get("ipFamilies") or (), strict=False)
    for at, (address, family) in enumerate(pairs):
        if address != "None" and family in _OF and family != _of(address):
            text = f"expected an {family} value as indicated by `ipFamilies[{at}]`"
            yield invalid(f"spec.clusterIPs[{at}]", address, text)


def changed(spec: Raw, old: Raw) -> Iterator[Cause]:
    """What may not become of addresses and families. Headless services, which have none to keep, may change families."""
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    new, was = (one.get("clusterIPs") or [] for one in (spec, old))
    headless = [each == ["None"] for each in (new, was)]
    if was and not all(headless):
        yield from _changed(spec, "clusterIPs", "clusterIP", new, was)
    if not any(headless):
        new, was = (_families(one) for one in (spec, old))
        yield from _changed(spec, "ipFamilies", "ipFamily", new, was)


def _changed(spec: Raw, key: str, one: str, new: Sequence[str], was: Sequence[str]) -> Iterator[Cause]:
    """``one`` is what the text calls one of them."""
    if len(new) == len(was):
        for at, (now, before) in enumerate(zip(new, was, strict=True)):
            if now != before:
                yield invalid(f"spec.{key}[{at if key == 'clusterIPs' else 0}]", list(new), _KEPT)
        return
    if was and not new:
        yield invalid(f"spec.{key}[0]", None, f"primary {one} can not be unset")
    elif was and new[0] != was[0]:
        yield invalid(f"spec.{key}[0]", spec.get("clusterIPs"), _KEPT)
    if len(was) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        text = f"must be set to 'SingleStack' when releasing the secondary {one}"
        yield invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text)
