"""What is served, as clients ask for it: the legacy documents of each group, and all in one (aggregated).

Groups are listed in upstream's order. Both forms follow from the kinds, and from what aggregated servers say of theirs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kybern.apiserver.aggregation import priorities
from kybern.apiserver.aggregation.lessons import Foreign
from kybern.apiserver.aggregation.priorities import Priority
from kybern.apiserver.route import Table, Version
from kybern.machinery.kind import Kind, Raw, Subresource

AGGREGATED = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"  # behind the media type


type Served = Version | Foreign


def _priority(version: Served) -> Priority:
    if isinstance(version, Foreign):
        return Priority(version.group_priority, version.version_priority)
    return priorities.of(version.group, version.version)


def groups(table: Table, others: Sequence[Foreign] = ()) -> Mapping[str, list[Served]]:
    """The named groups in order, each with its versions, the preferred one first; ``others`` answer in our place."""
    found: dict[str, dict[str, Served]] = {}
    served: list[Served] = [*table.versions.values(), *others]
    for version in served:
        if version.group:
            found.setdefault(version.group, {})[version.version] = version
    ordered = {name: sorted(versions.values(), key=_rank) for name, versions in found.items()}
    highest = {name: max(_priority(one).group for one in versions) for name, versions in ordered.items()}
    return {name: ordered[name] for name in sorted(ordered, key=lambda name: (-highest[name], name))}


def _rank(version: Served) -> tuple[int, tuple[int, int, int, str]]:
    return -_priority(version).version, age(version.version)


_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")


def age(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as upstream does: stable ones first, then beta, then alpha, the higher number before the lower."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return 3, 0, 0, version
    major, stage, minor = found.groups()
    return {None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), version


def _told(kind: Kind) -> tuple[str, ...]:
    """A custom kind that is ending, and makes nothing new, is told without changes, although they are answered."""
    if kind.custom and "create" not in kind.verbs:
        return tuple(verb for verb in kind.verbs if verb not in ("patch", "update"))
    return kind.verbs


def _verbs(kind: Kind, verbs: tuple[str, ...]) -> list[str]:
    """In alphabetical order; those of custom kinds stand in an order of their own."""
    return list(verbs) if kind.custom else sorted(verbs)


def api_versions(address: str) -> Raw:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group(name: str, versions: Iterable[Served]) -> Raw:
    shown = [{"groupVersion": version.name, "version": version.version} for version in versions]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def group_list(table: Table, others: Sequence[Foreign] = ()) -> Raw:
    found = [_group(name, versions) for name, versions in groups(table, others).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(table: Table, name: str, others: Sequence[Foreign] = ()) -> Raw | None:
    versions = groups(table, others).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resource_list(version: Version) -> Raw:
    resources: list[Raw] = []
    for kind in sorted(version.kinds.values(), key=lambda kind: kind.plural):
        resources.append(_resource(kind))
        resources += [_subresource(kind, sub) for sub in sorted(kind.subresources, key=lambda sub: sub.name)]
    return {
        "kind": "APIResourceList",
        **({"apiVersion": "v1"} if version.group else {}),
        "groupVersion": version.name,
        "resources": resources,
    }


def _resource(kind: Kind) -> Raw:
    found: Raw = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _verbs(kind, _told(kind)),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.storage_version_hash:
        found["storageVersionHash"] = kind.storage_version_hash
    return found


def _foreign(kind: Kind, sub: Subresource) -> bool:
    """Whether what travels belongs to another group version than the path."""
    return (sub.group, sub.version) != (kind.group, kind.version)


def _subresource(kind: Kind, sub: Subresource) -> Raw:
    found: Raw = {"name": f"{kind.plural}/{sub.name}", "singularName": "", "namespaced": kind.namespaced}
    if _foreign(kind, sub):
        found |= {"group": sub.group, "version": sub.version} if sub.group else {"version": sub.version}
    return found | {"kind": sub.kind, "verbs": _verbs(kind, sub.verbs)}


def aggregated(named: bool, table: Table, others: Sequence[Foreign] = ()) -> Raw:
    """The APIGroupDiscoveryList of /apis, or of /api when not ``named``."""
    found: Mapping[str, list[Served]] = groups(table, others) if named else {"": [table.versions["", "v1"]]}
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [_discovered(version) for version in versions],
        }
        for name, versions in found.items()
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _discovered(version: Served) -> Raw:
    if isinstance(version, Foreign):
        fresh = "Current" if version.fresh else "Stale"
        return {"version": version.version, "resources": list(version.resources), "freshness": fresh}
    kinds = sorted(version.kinds.values(), key=lambda kind: kind.plural)
    return {
        "version": version.version,
        "resources": [_discovered_kind(kind) for kind in kinds],
        "freshness": "Current",
    }


def _response(group: str, version: str, name: str, whole: bool) -> Raw:
    return {"group": group if whole else "", "version": version if whole else "", "kind": name}


def _discovered_kind(kind: Kind) -> Raw:
    found: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": _response(kind.group, kind.version, kind.kind, kind.custom),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind, _told(kind)),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.subresources:
        found["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _response(
                    sub.group, sub.version, sub.kind, kind.custom or _foreign(kind, sub)
                ),
                "verbs": _verbs(kind, sub.verbs),
            }
            for sub in sorted(kind.subresources, key=lambda sub: sub.name)
        ]
    return found
