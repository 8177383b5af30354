"""What is served, as clients ask for it: the legacy documents of each group, and all in one (aggregated).

Groups are listed in upstream's order. Both forms follow from the kinds.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kybern.apiserver.route import Table, Version
from kybern.machinery.kind import Kind, Raw, Subresource

_ORDER = (
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling",
    "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
    "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
)  # fmt: skip
AGGREGATED = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"  # behind the media type


def groups(table: Table) -> Mapping[str, list[Version]]:
    """The named groups in order, each with its versions, the newest first."""
    found: dict[str, list[Version]] = {name: [] for name in _ORDER}
    for version in sorted(table.versions.values(), key=lambda version: version.group):
        if version.group:
            found.setdefault(version.group, []).append(version)
    return {
        name: sorted(versions, key=lambda version: age(version.version))
        for name, versions in found.items()
        if versions
    }


_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")


def age(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as upstream does: stable ones first, then beta, then alpha, the higher number before the lower."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return 3, 0, 0, version
    major, stage, minor = found.groups()
    return {None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), version


def _verbs(kind: Kind, verbs: tuple[str, ...]) -> list[str]:
    """In alphabetical order; those of custom kinds stand in an order of their own."""
    return list(verbs) if kind.custom else sorted(verbs)


def api_versions(address: str) -> Raw:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group(name: str, versions: Iterable[Version]) -> Raw:
    shown = [{"groupVersion": version.name, "version": version.version} for version in versions]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def group_list(table: Table) -> Raw:
    found = [_group(name, versions) for name, versions in groups(table).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(table: Table, name: str) -> Raw | None:
    versions = groups(table).get(name)
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
        "verbs": _verbs(kind, kind.verbs),
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


def aggregated(named: bool, table: Table) -> Raw:
    """The APIGroupDiscoveryList of /apis, or of /api when not ``named``."""
    found = groups(table) if named else {"": [table.versions["", "v1"]]}
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


def _discovered(version: Version) -> Raw:
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
        "verbs": _verbs(kind, kind.verbs),
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
