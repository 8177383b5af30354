"""JSON patch and merge patch."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery import patch
from kybern.machinery.errors import ApiError, BadRequest, Invalid, RequestEntityTooLarge

DOC: dict[str, Any] = {"a": 1, "l": [1, 2, 3], "m": {"x/y": "1", "~": True}}


@pytest.mark.parametrize(
    ("operation", "path", "found"),
    [
        ({"op": "add", "path": "/b", "value": 5}, "b", 5),
        ({"op": "add", "path": "/b"}, "b", None),
        ({"op": "add", "path": "/l/1", "value": 9}, "l", [1, 9, 2, 3]),
        ({"op": "add", "path": "/l/-", "value": 9}, "l", [1, 2, 3, 9]),
        ({"op": "remove", "path": "/l/-1"}, "l", [1, 2]),
        ({"op": "replace", "path": "/m/x~1y", "value": "2"}, "m", {"x/y": "2", "~": True}),
        ({"op": "remove", "path": "/m/~0"}, "m", {"x/y": "1"}),
        ({"op": "move", "from": "/a", "path": "/m"}, "m", 1),
        ({"op": "copy", "from": "/l/0", "path": "/l/3"}, "l", [1, 2, 3, 1]),
        ({"op": "test", "path": "/m", "value": {"~": True, "x/y": "1"}}, "a", 1),
        ({"op": "test", "path": "/nosuch", "value": None}, "a", 1),
    ],
)
def test_an_operation_does_what_the_rfc_says(operation: dict[str, Any], path: str, found: Any) -> None:
    before = deepcopy(DOC)
    assert patch.json_patch(DOC, [operation])[path] == found
    assert before == DOC


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "remove", "path": "/nosuch"},
        {"op": "replace", "path": "/l/7", "value": 1},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/l/" + "1" * 5000, "value": 1},
        {"op": "add", "path": "/nosuch/x", "value": 1},
        {"op": "bogus", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
    ],
)
def test_an_operation_that_does_not_fit_is_unprocessable(operation: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        patch.json_patch(DOC, [operation])
    assert (
        caught.value.status()["message"] == "the server rejected our request due to an error in our request"
    )
    assert caught.value.status()["details"] == {}


def test_a_field_that_is_not_there_is_replaced_all_the_same() -> None:
    assert patch.json_patch({}, [{"op": "replace", "path": "/a", "value": 1}]) == {"a": 1}


@pytest.mark.parametrize("body", [{}, "x", [1]])
def test_a_malformed_json_patch_is_a_bad_request(body: Any) -> None:
    with pytest.raises(BadRequest, match="error decoding patch"):
        patch.json_patch(DOC, body)


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(RequestEntityTooLarge, match="10000, got 10001"):
        patch.json_patch(DOC, [{"op": "test", "path": "/a", "value": 1}] * 10001)


@pytest.mark.parametrize(
    ("doc", "change", "found"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [1]}, {"a": [{"x": None, "y": 1}, None]}, {"a": [{"y": 1}, None]}),
        ({"a": "foo"}, {"b": {"c": {"d": None}}}, {"a": "foo", "b": {"c": {}}}),
    ],
)
def test_a_merge_patch_merges(doc: dict[str, Any], change: dict[str, Any], found: dict[str, Any]) -> None:
    before = deepcopy(doc)
    assert patch.merge_patch(doc, change) == found
    assert doc == before


@pytest.mark.parametrize(("body", "word"), [([], "array"), (5, "number"), ("x", "string"), (True, "bool")])
def test_a_merge_patch_must_be_an_object(body: Any, word: str) -> None:
    with pytest.raises(ApiError) as caught:
        patch.merge_patch({}, body)
    assert caught.value.message == (
        f"error decoding patch: json: cannot unmarshal {word} into Go value of type map[string]interface {{}}"
    )


objects = st.recursive(
    st.booleans() | st.integers(0, 9) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
maps = st.dictionaries(st.sampled_from("abc"), objects, max_size=3)


@given(maps, maps)
def test_a_patch_without_nulls_is_found_again_in_the_result(
    doc: dict[str, Any], change: dict[str, Any]
) -> None:
    once = patch.merge_patch(doc, change)
    assert patch.merge_patch(once, change) == once
    assert patch.merge_patch({}, once) == once


@given(maps)
def test_adding_and_removing_a_member_changes_nothing(doc: dict[str, Any]) -> None:
    operations = [{"op": "add", "path": "/new", "value": doc}, {"op": "remove", "path": "/new"}]
    assert patch.json_patch(doc, operations) == doc
