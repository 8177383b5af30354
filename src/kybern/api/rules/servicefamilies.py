"""The addresses of a service and their families: each of its own family, the first for good, a second with the policy.

By upstream's ValidateServiceClusterIPsRelatedFields, validateUpgradeDowngradeClusterIPs and
validateUpgradeDowngradeIPFamilies (pkg/apis/core/validation). The first of them comes before all others there, and families
that are not said are those of the addresses by the time of the last: so a list that is shorter than theirs is no change.
Who lets go of the second without saying SingleStack is stopped earlier still, where addresses are given
(initIPFamilyFields, pkg/registry/core/service/storage), in the words that are used here.
"""

from collections.abc import Iterator, Sequence

from kybern.api.rules.causes import all_invalid, duplicate, invalid, one_of, required
from kybern.api.rules.formats import ip
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_OF = ("IPv4", "IPv6")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_KEPT = "may not change once set"
_RELEASED = {"clusterIPs": "cluster IP", "ipFamilies": "IP family"}
_MOST = 2


def is_headless(spec: Raw) -> bool:
    return (spec.get("clusterIPs") or [])[:1] == ["None"] or spec.get("clusterIP") == "None"


def related(spec: Raw) -> Iterator[Cause]:
    """What addresses, families and their policy say is well-formed, and says the same."""
    if spec.get("type") == "ExternalName":
        return
    found = spec.get("clusterIPs") or []
    yield from _first(spec, found)
    families = spec.get("ipFamilies") or []
    for i, family in enumerate(families):
        yield from one_of(f"spec.ipFamilies[{i}]", family, _OF)
        if family in families[:i]:
            yield duplicate(f"spec.ipFamilies[{i}]", family)
    if spec.get("ipFamilyPolicy") is not None:
        yield from one_of("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], _POLICIES)
    wrong = list(_addresses(found))
    yield from wrong
    if len(found) > _MOST:
        yield invalid("spec.clusterIPs", found, "may only hold up to 2 values")
    if wrong:
        return
    if len(found) > 1 and len({family_of(address) for address in found}) == 1:
        yield invalid("spec.clusterIPs", found, "may specify no more than one IP for each IP family")
    yield from _matching(spec)


def _first(spec: Raw, found: Sequence[str]) -> Iterator[Cause]:
    """The field of one address says what the first of the list does."""
    one = spec.get("clusterIP")
    if one and not found:
        yield required("spec.clusterIPs")
    elif one and found[0] != one:
        yield invalid("spec.clusterIPs", list(found), "first value must match `clusterIP`")
    elif found and not one:
        yield invalid("spec.clusterIPs", list(found), "must be empty when `clusterIP` is not specified")


def _addresses(found: Sequence[str]) -> Iterator[Cause]:
    for i, address in enumerate(found):
        if i or address != "None":
            yield from all_invalid(f"spec.clusterIPs[{i}]", address, ip(address))
        elif len(found) > 1:
            yield invalid("spec.clusterIPs", list(found), "'None' must be the first and only value")


def family_of(address: str) -> str:
    return _OF[":" in address]


def _families(spec: Raw) -> list[str]:
    """Those that are said, and after them those of the addresses."""
    said = list(spec.get("ipFamilies") or ())
    return said + [family_of(address) for address in (spec.get("clusterIPs") or [])[len(said) :]]


def _matching(spec: Raw) -> Iterator[Cause]:
    """Every address is of the family at its place."""
    pairs = zip(spec.get("clusterIPs") or (), spec.get("ipFamilies") or (), strict=False)
    for at, (address, family) in enumerate(pairs):
        if address != "None" and family in _OF and family != family_of(address):
            text = f"expected an {family} value as indicated by `ipFamilies[{at}]`"
            yield invalid(f"spec.clusterIPs[{at}]", address, text)


def changed(spec: Raw, old: Raw) -> Iterator[Cause]:
    """What may not become of addresses and families. Headless services, which have none to keep, may change families."""
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    released = list(_released(spec, old))
    if released:
        yield from released
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


def _released(spec: Raw, old: Raw) -> Iterator[Cause]:
    """A list that is left out is no shorter."""
    policy = spec.get("ipFamilyPolicy")
    for key, one in _RELEASED.items():
        if policy != "SingleStack" and 0 < len(spec.get(key) or ()) < len(old.get(key) or ()):
            text = f"must be 'SingleStack' to release the secondary {one}"
            yield invalid("spec.ipFamilyPolicy", policy, text)
