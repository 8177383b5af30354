"""The kinds against requests to upstream's v1.36 server: what it made of bodies, and what it refused, field by field.

The data are answers of a real server without what other parts add (admission, addresses, versions). A line that says
only which fields were wrong leaves the words free.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kybern.api import kinds
from kybern.machinery.kind import Kind
from kybern.machinery.schema import Schema

DATA = Path(__file__).parents[2] / "data/api"
SCHEMA = Schema.load()


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def _named(row: dict[str, Any]) -> str:
    name = row["body"].get("metadata", {}).get("name", "")
    return f"{row['kind'][2]}-{name}"


def _made(kind: Kind, sent: dict[str, Any]) -> dict[str, Any]:
    """What the engine does to a body before it is checked."""
    raw = copy.deepcopy(sent)
    raw["apiVersion"], raw["kind"] = kind.api_version, kind.kind
    SCHEMA.of(kind.schema).decode(raw, strict=True)
    metadata = raw.setdefault("metadata", {})
    metadata.update(uid="u-1", creationTimestamp="2020-01-01T00:00:00Z")
    if kind.namespaced:
        metadata["namespace"] = "ns1"
    kind.rules.default(raw)
    if kind.has_status and not kind.status_on_create:
        raw.pop("status", None)
        kind.rules.default(raw)
    kind.rules.on_create(raw)
    kind.rules.forget(raw)
    return raw


def _kind(row: dict[str, Any]) -> Kind:
    found = kinds.of_kind(*row["kind"])
    assert found is not None
    return found


@pytest.mark.parametrize("row", _rows("creates.jsonl"), ids=_named)
def test_an_object_is_made_as_upstream_makes_it(row: dict[str, Any]) -> None:
    made = _made(_kind(row), row["body"])

    for key in ("uid", "creationTimestamp", "namespace"):
        made["metadata"].pop(key, None)
    assert made == row["made"]


@pytest.mark.parametrize("row", _rows("creates.jsonl"), ids=_named)
def test_defaults_of_a_whole_object_change_nothing(row: dict[str, Any]) -> None:
    kind = _kind(row)
    made = _made(kind, row["body"])

    again = copy.deepcopy(made)
    kind.rules.default(again)

    assert again == made


@pytest.mark.parametrize("row", _rows("creates.jsonl"), ids=_named)
def test_what_upstream_takes_is_taken(row: dict[str, Any]) -> None:
    kind = _kind(row)
    made = _made(kind, row["body"])
    if kind.kind == "Pod":
        made["spec"].setdefault("serviceAccountName", "default")

    assert [cause.line() for cause in kind.rules.validate(made, None)] == []


@pytest.mark.parametrize("row", _rows("refusals.jsonl"), ids=_named)
def test_what_upstream_refuses_is_refused_for_the_same_fields(row: dict[str, Any]) -> None:
    kind = _kind(row)
    made = _made(kind, row["body"])
    if kind.kind == "Pod":
        made["spec"].setdefault("serviceAccountName", "default")

    causes = kind.rules.validate(made, None)

    assert [[cause.field, cause.reason] for cause in causes] == row["causes"]
