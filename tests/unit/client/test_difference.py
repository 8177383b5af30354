"""Merge patches that turn one value into another."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kybern.client.difference import difference

LEAVES = st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.lists(st.integers(), max_size=2))
VALUES: Any = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(OBJECTS, OBJECTS)
def test_patching_the_old_with_the_difference_gives_the_new(old: Any, new: Any) -> None:
    assert merged(old, difference(old, new)) == new


@given(OBJECTS)
def test_no_difference_from_itself(value: Any) -> None:
    assert difference(value, value) == {}


def test_only_what_differs_is_in_it() -> None:
    old = {"spec": {"a": 1, "b": 2, "c": [1]}, "metadata": {"name": "x"}}
    new = {"spec": {"a": 1, "b": 3, "c": [1, 2]}, "metadata": {"name": "x"}}

    assert difference(old, new) == {"spec": {"b": 3, "c": [1, 2]}}
