"""What is known of an object from its bytes."""

from typing import Any

import msgspec
import pytest

from kybern.machinery.kind import Kind
from kybern.storage.entry import Entry
from kybern.storage.value import Form


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ({"name": "a", "namespace": "n", "labels": {"k": "v"}, "uid": "u"}, ("a", "n", {"k": "v"})),
        ({"name": "a"}, ("a", "", {})),
        ({"name": "a", "labels": None}, ("a", "", {})),
        ({"name": "a", "namespace": None, "labels": {"k": "v"}}, ("a", "", {"k": "v"})),
        ({}, ("", "", {})),
    ],
)
def test_name_namespace_and_labels_are_read(
    metadata: dict[str, Any], known: tuple[str, str, dict[str, str]]
) -> None:
    kind = Kind("", "v1", "Widget", "widgets", namespaced=True, schema="")
    item = msgspec.json.encode({"metadata": metadata, "spec": {"labels": {"not": "these"}, "name": 1}})
    entry = Entry("/registry/widgets/n/a", 3, item, Form(kind))

    assert (entry.name, entry.namespace, entry.labels) == known
    assert entry.fields == {}


def test_fields_are_read_once_and_only_when_asked_for() -> None:
    asked = []

    def of(raw: dict[str, Any]) -> str:
        asked.append(raw["kind"])
        return str(raw["spec"]["size"])

    kind = Kind("", "v1", "Widget", "widgets", namespaced=True, schema="", selectable={"spec.size": of})
    entry = Entry("/registry/widgets/n/a", 3, b'{"metadata":{"name":"a"},"spec":{"size":7}}', Form(kind))
    assert asked == []

    assert entry.fields == entry.fields == {"spec.size": "7"}
    assert asked == ["Widget"]
