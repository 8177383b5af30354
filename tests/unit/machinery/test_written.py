"""Objects in the order in which Go writes them."""

import json
from typing import Any

from kybern.machinery import written


def test_metadata_are_in_the_order_of_their_type() -> None:
    fields: dict[str, Any] = {"f:spec": {}, "f:metadata": {"f:labels": {"f:b": {}, ".": {}}}}
    raw = {
        "managedFields": [{"manager": "m", "fieldsV1": fields}],
        "labels": {"b": "1", "a": "2"},
        "uid": "u",
        "name": "n",
    }

    assert json.dumps(written.metadata(raw)) == (
        '{"name": "n", "uid": "u", "labels": {"a": "2", "b": "1"}, "managedFields": [{"manager": "m", "fieldsV1": '
        '{"f:metadata": {"f:labels": {".": {}, "f:b": {}}}, "f:spec": {}}}]}'
    )


def test_a_patched_object_is_sorted_at_its_top() -> None:
    raw = {
        "kind": "K",
        "metadata": {"nosuch": 1, "uid": "u", "name": "n"},
        "apiVersion": "v1",
        "data": {"b": 1, "a": 2},
    }

    assert json.dumps(written.patched(raw)) == (
        '{"apiVersion": "v1", "data": {"b": 1, "a": 2}, "kind": "K", "metadata": {"name": "n", "uid": "u", "nosuch": 1}}'
    )
    assert written.patched([1]) == [1]
