"""The table of role bindings and cluster role bindings."""

from typing import Any

from kybern.api.rules.tables import AGE, NAME, age, dig, name, wide
from kybern.machinery.kind import Column, Raw, Table

_COLUMNS = (NAME, Column("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts"))


def _subjects(raw: Raw) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in raw.get("subjects") or ():
        shown = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            shown = f"{subject.get('namespace', '')}/{shown}"
        found.setdefault(subject.get("kind", ""), []).append(shown)
    return found


def _cells(raw: Raw, now: float) -> list[Any]:
    found = _subjects(raw)
    role = f"{dig(raw, 'roleRef', 'kind') or ''}/{dig(raw, 'roleRef', 'name') or ''}"
    columns = (", ".join(found[kind]) for kind in ("User", "Group", "ServiceAccount"))
    return [name(raw), role, age(raw, now), *columns]


TABLE = Table(_COLUMNS, _cells)


_GROUP = "rbac.authorization.k8s.io"


def default(raw: Raw) -> None:
    """Users, groups and roles are of RBAC's group, service accounts of the core one."""
    role = raw.setdefault("roleRef", {})
    if not role.get("apiGroup"):
        role["apiGroup"] = _GROUP
    for subject in raw.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = _GROUP
