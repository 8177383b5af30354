"""The registry is exactly what discovery of v1.36 serves, and every kind has its file and its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from kybern.api import kinds
from kybern.api.kinds import KINDS, OPTIONAL
from kybern.machinery.kind import Kind

ROOT = Path(__file__).parents[3]
FACTS = json.loads((ROOT / "generate/facts/api_resources.json").read_text())
COLUMNS = json.loads((ROOT / "generate/facts/printer_columns.json").read_text())["resources"]
ALL = (*KINDS, *OPTIONAL)


def _resources(groups: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (version["group_version"], resource)
        for group in groups
        for version in group["versions"]
        for resource in version["resources"]
    ]


SERVED = _resources(FACTS["groups"] + FACTS["optional_groups"])
BARE = {"metadata": {"name": "bare"}}


def _facts(kind: Kind) -> dict[str, Any]:
    return next(
        resource
        for group_version, resource in SERVED
        if (group_version, resource["name"]) == (kind.api_version, kind.plural)
    )


def _named(kind: Kind) -> str:
    return f"{kind.api_version}.{kind.kind}"


@pytest.mark.parametrize(("kinds_", "groups"), [(KINDS, "groups"), (OPTIONAL, "optional_groups")])
def test_the_kinds_are_those_of_discovery_in_its_order(kinds_: tuple[Kind, ...], groups: str) -> None:
    assert [(kind.api_version, kind.plural) for kind in kinds_] == [
        (group_version, resource["name"]) for group_version, resource in _resources(FACTS[groups])
    ]


@pytest.mark.parametrize("kind", ALL, ids=_named)
def test_a_kind_is_described_as_discovery_describes_it(kind: Kind) -> None:
    facts = _facts(kind)

    assert {
        "singular": kind.singular,
        "kind": kind.kind,
        "namespaced": kind.namespaced,
        "verbs": list(kind.verbs),
        "short_names": list(kind.short_names),
        "categories": list(kind.categories),
        "storage_version_hash": kind.storage_version_hash,
    } == {
        "singular": facts["singular"],
        "kind": facts["kind"],
        "namespaced": facts["namespaced"],
        "verbs": facts["verbs"],
        "short_names": facts["short_names"],
        "categories": facts["categories"],
        "storage_version_hash": facts.get("storage_version_hash", ""),
    }


@pytest.mark.parametrize("kind", ALL, ids=_named)
def test_a_kind_has_the_subresources_of_discovery(kind: Kind) -> None:
    expected = [
        (sub["name"], sub["kind"], sub["group"], sub["version"], sub["verbs"])
        for sub in _facts(kind).get("subresources", ())
    ]

    assert [
        (sub.name, sub.kind, sub.group, sub.version, list(sub.verbs)) for sub in kind.subresources
    ] == expected


@pytest.mark.parametrize("kind", ALL, ids=_named)
def test_a_kind_selects_by_the_fields_of_upstream(kind: Kind) -> None:
    selectable = _facts(kind).get("field_selectors", ())

    assert sorted(kind.selectable) == sorted(key for key in selectable if not key.startswith("metadata."))
    assert all(isinstance(read(dict(BARE)), str) for read in kind.selectable.values())


@pytest.mark.parametrize("kind", ALL, ids=_named)
def test_a_kind_prints_the_columns_of_upstream(kind: Kind) -> None:
    columns = COLUMNS.get(kind.api_version, {}).get(kind.plural)
    if columns is None:
        assert kind.table is None
        return

    assert kind.table is not None
    assert [(column.name, column.type, column.format, column.priority) for column in kind.table.columns] == [
        (column["name"], column["type"], column["format"], column["priority"]) for column in columns
    ]


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind.table], ids=_named)
def test_an_object_that_says_nothing_still_prints(kind: Kind) -> None:
    assert kind.table is not None

    cells = kind.table.cells(dict(BARE), 0.0)

    assert len(cells) >= len(kind.table.columns)
    assert "bare" in cells


def test_what_is_kept_has_a_place_of_its_own() -> None:
    kept = [kind for kind in ALL if kind.storage]
    shared = [kind for kind in kept if kind.conversion]

    assert all(kind.storage == "" for kind in ALL if kind.verbs == ("create",))
    assert len({kind.storage for kind in kept}) == len(kept) - len(shared)


@pytest.mark.parametrize("kind", ALL, ids=_named)
def test_a_kind_is_one_file_named_after_it(kind: Kind) -> None:
    package = f"{kind.group.split('.')[0] or 'core'}_{kind.version}"

    assert (ROOT / "src/kybern/api" / package / f"{kind.kind.lower()}.py").is_file()


def test_kinds_are_found_by_path_and_by_body() -> None:
    by_path = kinds.of_resource("apps", "v1", "deployments")

    assert by_path is not None
    assert by_path is kinds.of_kind("apps", "v1", "Deployment")
    assert kinds.of_resource("apps", "v1", "nothing") is None
