"""Roles and their bindings."""

from collections.abc import Iterator

from kybern.api.rules.causes import all_invalid, invalid, not_supported, required
from kybern.api.rules.formats import path_segment, subdomain
from kybern.api.rules.labels import selector
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")


def role(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    for i, rule in enumerate(new.get("rules") or ()):
        yield from _rule(f"rules[{i}]", rule, namespaced=True)


def cluster_role(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    for i, rule in enumerate(new.get("rules") or ()):
        yield from _rule(f"rules[{i}]", rule, namespaced=False)
    aggregation = new.get("aggregationRule")
    if aggregation is None:
        return
    selectors = aggregation.get("clusterRoleSelectors") or []
    if not selectors:
        text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield required("aggregationRule.clusterRoleSelectors", text)
    for i, found in enumerate(selectors):
        yield from selector(f"aggregationRule.clusterRoleSelectors[{i}]", found)


def _rule(field: str, rule: Raw, *, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{field}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            yield invalid(f"{field}.nonResourceURLs", urls, text)
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid(f"{field}.nonResourceURLs", urls, text)
        return
    if not rule.get("apiGroups"):
        yield required(f"{field}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{field}.resources", "resource rules must supply at least one resource")


def role_binding(new: Raw, old: Raw | None) -> Iterator[Cause]:
    return _binding(new, old, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(new: Raw, old: Raw | None) -> Iterator[Cause]:
    return _binding(new, old, ("ClusterRole",), namespaced=False)


def _binding(new: Raw, old: Raw | None, kinds: tuple[str, ...], *, namespaced: bool) -> Iterator[Cause]:
    found = new.get("roleRef") or {}
    if found.get("apiGroup") != _GROUP:
        yield not_supported("roleRef.apiGroup", found.get("apiGroup", ""), (_GROUP,))
    if found.get("kind") not in kinds:
        yield not_supported("roleRef.kind", found.get("kind", ""), kinds)
    if not found.get("name"):
        yield required("roleRef.name")
    else:
        yield from all_invalid("roleRef.name", found["name"], path_segment(found["name"]))
    for i, subject in enumerate(new.get("subjects") or ()):
        yield from _subject(f"subjects[{i}]", subject, namespaced=namespaced)
    if old is not None and found != old.get("roleRef"):
        names = (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))
        shown = {upper: found.get(lower, "") for upper, lower in names}
        yield invalid("roleRef", shown, "cannot change roleRef")


def _subject(field: str, subject: Raw, *, namespaced: bool) -> Iterator[Cause]:
    kind, name, group = subject.get("kind", ""), subject.get("name", ""), subject.get("apiGroup", "")
    if not name:
        yield required(f"{field}.name")
    if kind == "ServiceAccount":
        if name:
            yield from all_invalid(f"{field}.name", name, subdomain(name))
        if group:
            yield not_supported(f"{field}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            yield required(f"{field}.namespace")
    elif kind in ("User", "Group"):
        if group != _GROUP:
            yield not_supported(f"{field}.apiGroup", group, (_GROUP,))
    else:
        yield not_supported(f"{field}.kind", kind, _SUBJECTS)
