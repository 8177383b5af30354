"""Who may do what by RBAC, and judgements of it: subjects beside those that are the cluster's own. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kybern.machines.cis.record import Objects, Outcome, Raw, Weigh, passed, review, unknown

SHOWN = 5
EVERYBODY = ("system:anonymous", "system:unauthenticated", "system:authenticated", "system:serviceaccounts")
LISTS = ("clusterrolebindings", "rolebindings", "clusterroles", "roles")


@dataclass(frozen=True, slots=True)
class Wish:
    """Something to be allowed: any of the verbs on a resource, such as ("nodes/proxy", "")."""

    resource: str
    group: str
    verbs: tuple[str, ...]

    def in_rule(self, rule: Raw) -> bool:
        return (
            _has(rule.get("verbs"), *self.verbs)
            and _has(rule.get("apiGroups"), self.group)
            and _has(rule.get("resources"), self.resource, f"*/{self.resource.partition('/')[2]}")
        )


def _has(given: Sequence[str] | None, *wanted: str) -> bool:
    return any(one in wanted or one == "*" for one in given or ())


def holders(objects: Objects, *wishes: Wish) -> Sequence[str] | None:
    """Foreign subjects that may do any of it, by a binding of a role; None when the API does not tell."""
    if any(objects[name] is None for name in LISTS):
        return None
    roles = {
        (_kind(name), _namespace(role), role["metadata"]["name"]): role.get("rules") or ()
        for name in LISTS[2:]
        for role in objects[name] or ()
    }
    found: set[str] = set()
    for name in LISTS[:2]:
        for binding in objects[name] or ():
            rules = _rules(binding, roles)
            if any(wish.in_rule(rule) for wish in wishes for rule in rules):
                found.update(_foreign(binding))
    return sorted(found)


def _kind(plural: str) -> str:
    return "ClusterRole" if plural == "clusterroles" else "Role"


def _namespace(one: Raw) -> str:
    return str(one["metadata"].get("namespace", ""))


def _rules(binding: Raw, roles: Mapping[tuple[str, str, str], Sequence[Raw]]) -> Sequence[Raw]:
    ref = binding.get("roleRef") or {}
    place = _namespace(binding) if ref.get("kind") == "Role" else ""
    return roles.get((ref.get("kind", ""), place, ref.get("name", "")), ())


def _foreign(binding: Raw) -> Iterator[str]:
    """Subjects that are neither Kubernetes' nor Kybern's own (system:...), nor service accounts of kube-system."""
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind == "ServiceAccount":
            if subject.get("namespace") != "kube-system":
                yield f"{subject.get('namespace', '')}/{name}"
        elif name in EVERYBODY or not name.startswith(("system:", "kubeadm:")):
            yield f"{kind.lower()} {name}"


def nobody_else(what: str, *wishes: Wish) -> Weigh:
    def weigh(objects: Objects) -> Outcome:
        found = holders(objects, *wishes)
        if found is None:
            return unknown("the API does not tell roles and bindings")
        if not found:
            return passed(f"none but the cluster's own may {what}")
        return review(
            f"may {what}: {some(found)}", "see that they need it, and take it from those that do not"
        )

    return weigh


def some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def administrators(objects: Objects) -> Outcome:
    """Who is cluster-admin, but for Kubernetes' own binding of system:masters."""
    bindings = objects["clusterrolebindings"]
    if bindings is None:
        return unknown("the API does not tell bindings")
    found = [
        one["metadata"]["name"]
        for one in bindings
        if (one.get("roleRef") or {}).get("name") == "cluster-admin"
        and one["metadata"]["name"] != "cluster-admin"
    ]
    if found:
        return review(f"bound to cluster-admin by {some(found)}", "bind a role with less, where that will do")
    return passed("bound by cluster-admin alone, to system:masters")


def wildcards(objects: Objects) -> Outcome:
    found = []
    for plural in LISTS[2:]:
        if objects[plural] is None:
            return unknown("the API does not tell roles")
        for role in objects[plural] or ():
            labels = role["metadata"].get("labels") or {}
            if labels.get("kubernetes.io/bootstrapping") == "rbac-defaults":
                continue  # upstream's own, the same in every cluster
            if any(
                "*" in (rule.get(name) or ())
                for rule in role.get("rules") or ()
                for name in ("verbs", "resources", "apiGroups")
            ):
                found.append(role["metadata"]["name"])
    if found:
        return review(f"a star in {some(found)}", "name what is needed instead")
    return passed("none, but in the roles that every cluster has")


def anonymous(objects: Objects) -> Outcome:
    """What those may do who say not who they are."""
    lists = [objects[name] for name in LISTS[:2]]
    if any(one is None for one in lists):
        return unknown("the API does not tell bindings")
    found = [
        one["metadata"]["name"]
        for bindings in lists
        for one in bindings or ()
        for subject in one.get("subjects") or ()
        if subject.get("name") in ("system:anonymous", "system:unauthenticated")
    ]
    extra = sorted(set(found) - {"system:public-info-viewer", "kubeadm:bootstrap-signer-clusterinfo"})
    if extra:
        return review(f"anonymous requests are allowed more by {some(extra)}", "remove these bindings")
    return passed("anonymous requests see health and version, and nothing else")
