"""Paths of fields from a rule's place on."""

from typing import Any

import pytest

from kybern.machinery.structural.rules.paths import PathError, normal

SCHEMA: dict[str, Any] = {
    "properties": {
        "spec": {"properties": {"name": {}, "my.key": {}, "it's": {}}},
        "labels": {"additionalProperties": {"properties": {"x": {}}}},
        "list": {"items": {"properties": {"x": {}}}},
    }
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec", "spec"),
        (".spec.name", "spec.name"),
        ("['spec']['my.key']", "spec.my.key"),
        (".spec['my.key']", "spec.my.key"),
        (r".spec['it\'s']", "spec.it's"),
        (".labels.any", "labels[any]"),
        (".labels['a.b'].x", "labels[a.b].x"),
    ],
)
def test_paths_that_lead_somewhere(path: str, found: str) -> None:
    assert normal(path, SCHEMA) == found


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("spec", "expected [ or . but got: spec"),
        (".nothing", "does not refer to a valid field"),
        (".spec.my.key", "does not refer to a valid field"),
        (".list[0]", "expected single quoted string but got 0"),
        (".list.x", "does not refer to a valid field"),
        (".spec.", "unexpected end of JSON path"),
        (".spec[", "unexpected end of JSON path"),
        (".spec['name'", "unexpected end of JSON path"),
        (".spec['name'.", "expected ] but got ."),
        (r".spec['\q']", r"invalid string literal: invalid escape char \q"),
    ],
)
def test_paths_that_do_not(path: str, says: str) -> None:
    with pytest.raises(PathError) as found:
        normal(path, SCHEMA)
    assert str(found.value) == says
