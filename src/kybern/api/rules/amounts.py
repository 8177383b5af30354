"""Amounts of resources: which names there are, and which amounts make sense for them."""

from collections.abc import Iterator, Mapping

from kybern.api.rules.causes import AT_LEAST_ZERO, all_invalid, forbidden, invalid, not_found, required
from kybern.api.rules.formats import qualified_name
from kybern.machinery import quantity
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

OF_CONTAINERS = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTED = frozenset(
    {
        "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
OF_QUOTAS = (
    OF_CONTAINERS
    | _COUNTED
    | {f"{side}.{name}" for side in ("requests", "limits") for name in OF_CONTAINERS}
    | {"storage", "requests.storage"}
)
HUGE = "hugepages-"
_ZERO = quantity.parse("0")


def native(name: str) -> bool:
    """Resources of Kubernetes itself; all others belong to someone's domain."""
    return "/" not in name or "kubernetes.io/" in name


def extended(name: str) -> bool:
    return not native(name) and not name.startswith("requests.") and not qualified_name(f"requests.{name}")


def standard(name: str) -> bool:
    return name in OF_QUOTAS or name.startswith((HUGE, f"requests.{HUGE}"))


def name(field: str, text: str) -> Iterator[Cause]:
    """Any resource's name."""
    complaints = qualified_name(text)
    yield from all_invalid(field, text, complaints)
    if not complaints and "/" not in text and not standard(text):
        yield invalid(field, text, "must be a standard resource type or fully qualified")


def container_name(field: str, text: str) -> Iterator[Cause]:
    yield from name(field, text)
    if "/" not in text:
        if text not in OF_CONTAINERS and not text.startswith(HUGE):
            yield invalid(field, text, "must be a standard resource for containers")
    elif not native(text) and not extended(text):
        yield invalid(field, text, "doesn't follow extended resource name standard")


def amount(field: str, resource: str, text: str) -> Iterator[Cause]:
    found = quantity.parse(text)
    if found < _ZERO:
        yield invalid(field, text, AT_LEAST_ZERO)
    if (resource in _COUNTED or extended(resource)) and found.milli() % 1000:
        yield invalid(field, text, "must be an integer")


def overcommits(resource: str) -> bool:
    """Whether more of it may be used than was asked for."""
    return native(resource) and not resource.startswith(HUGE)


def _request(field: str, resource: str, text: str, limits: Mapping[str, str]) -> Iterator[Cause]:
    limit = limits.get(resource)
    if limit is None:
        if not overcommits(resource):
            yield required(f"{field}.limits", "Limit must be set for non overcommitable resources")
        return
    asked, most = quantity.parse(text), quantity.parse(limit)
    if asked != most and not overcommits(resource):
        yield invalid(f"{field}.requests", text, f"must be equal to {resource} limit of {limit}")
    elif asked > most:
        yield invalid(f"{field}.requests", text, f"must be less than or equal to {resource} limit of {limit}")


def requirements(field: str, resources: Raw, claims: frozenset[str] = frozenset()) -> Iterator[Cause]:
    """What a container asks for and is limited to."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for resource, text in limits.items():
        at = f"{field}.limits[{resource}]"
        yield from container_name(at, resource)
        yield from amount(at, resource, text)
    for resource, text in requests.items():
        at = f"{field}.requests[{resource}]"
        yield from container_name(at, resource)
        yield from amount(at, resource, text)
        yield from _request(field, resource, text, limits)
    named = {*limits, *requests}
    if named.isdisjoint(("cpu", "memory")) and any(resource.startswith(HUGE) for resource in named):
        yield forbidden(field, "HugePages require cpu or memory")
    yield from _claims(f"{field}.claims", resources, claims)


def _claims(field: str, resources: Raw, known: frozenset[str]) -> Iterator[Cause]:
    for i, claim in enumerate(resources.get("claims") or ()):
        if not claim.get("name"):
            yield required(f"{field}[{i}]")
        elif claim["name"] not in known:
            yield not_found(f"{field}[{i}]", claim["name"])
