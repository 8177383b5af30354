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
