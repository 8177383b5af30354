"""Which families of IP a Service has, and its policy, as the cluster's ranges allow. Pure.

By upstream's initIPFamilyFields (pkg/registry/core/service/storage). A headless Service without a selector may have
families that the cluster has not, since whoever writes its endpoints knows best.
"""

from collections.abc import Iterator, Sequence

from kybern.api.rules.servicefamilies import family_of, is_headless
from kybern.machinery.causes import invalid
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
_KEYS = ("type", "ipFamilyPolicy", "ipFamilies", "clusterIPs")
_AT = "spec.ipFamilyPolicy"


def settle(spec: Raw, old: Raw | None, known: Sequence[str]) -> list[Cause]:
    """Say the families and the policy of a spec that has passed its rules; what is wrong with them, if anything.

    ``old`` is the spec before an update, ``known`` the cluster's families, its first one first.
    """
    if spec.get("type") == "ExternalName" or _stays(spec, old):
        return []
    free = is_headless(spec) and not spec.get("selector")
    policy = spec.get("ipFamilyPolicy") or (old or {}).get("ipFamilyPolicy")
    policy = spec["ipFamilyPolicy"] = policy or ("RequireDualStack" if free else "SingleStack")
    families = list(spec.get("ipFamilies") or ())
    asked = [] if is_headless(spec) else spec.get("clusterIPs") or []
    families += [family_of(address) for address in asked[len(families) :]]
    causes = list(_too_many(spec, policy)) + list(_unknown_addresses(spec, asked, known))
    if not causes and not free:
        causes = list(_unknown(policy, families, known))
    if causes:
        return causes
    families = families or [known[0]]
    if policy != "SingleStack" and len(families) == 1 and (free or len(known) > 1):
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families
    return []


def _stays(spec: Raw, old: Raw | None) -> bool:
    """A Service of either way neither gets nor loses a family because the cluster has: only who writes it decides that."""
    return (
        old is not None
        and spec.get("ipFamilyPolicy") == "PreferDualStack"
        and all(spec.get(key) == old.get(key) for key in _KEYS)
    )


def _too_many(spec: Raw, policy: str) -> Iterator[Cause]:
    for key, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
        if policy == "SingleStack" and len(spec.get(key) or ()) > 1:
            text = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            yield invalid(_AT, policy, text)


def _unknown_addresses(spec: Raw, asked: Sequence[str], known: Sequence[str]) -> Iterator[Cause]:
    """Those whose families nobody has said."""
    said = len(spec.get("ipFamilies") or ())
    for at, address in enumerate(asked[said:], start=said):
        if family_of(address) not in known:
            text = f"{family_of(address)} is not configured on this cluster"
            yield invalid(f"spec.clusterIPs[{at}]", list(asked), text)


def _unknown(policy: str, families: Sequence[str], known: Sequence[str]) -> Iterator[Cause]:
    if policy == "RequireDualStack" and len(known) < 2:
        yield invalid(_AT, policy, "this cluster is not configured for dual-stack services")
    for at, family in enumerate(families):
        if family not in known:
            yield invalid(f"spec.ipFamilies[{at}]", family, "not configured on this cluster")
