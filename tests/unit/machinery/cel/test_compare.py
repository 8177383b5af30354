"""Equality of CEL values."""

from typing import Any

import pytest

from kybern.machinery.cel.compare import equal, greater, joined
from kybern.machinery.cel.values import NONE, Duration, ListMap, ListSet, Optional, Timestamp, Uint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, Uint(1), True),
        (True, 1, False),
        (1, True, False),
        (0, False, False),
        (1.0, True, False),
        (True, True, True),
        ("a", "a", True),
        ("a", b"a", False),
        (None, None, True),
        (None, 0, False),
        ([1, [2]], [1.0, [2]], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": True}, False),
        (Duration(1), Duration(1), True),
        (Duration(1), Timestamp(1), False),
        (Optional(present=True, value=1), Optional(present=True, value=1.0), True),
        (Optional(present=True, value=None), NONE, False),
        (NONE, NONE, True),
        (ListSet([1, 2]), [2, 1], True),
        (ListSet([1, 2]), [2, 3], False),
        (ListSet([1, 2]), [1], False),
        (ListMap([{"k": 1}, {"k": 2}], ("k",)), [{"k": 2}, {"k": 1}], True),
        (ListMap([{"k": 1, "v": 1}], ("k",)), [{"k": 1, "v": 2}], False),
        (float("nan"), float("nan"), False),
    ],
)
def test_equality(one: Any, other: Any, *, same: bool) -> None:
    assert equal(one, other) is same


@pytest.mark.parametrize(
    ("one", "other", "more"),
    [(2, 1.5, True), (1, 1, False), ("b", "a", True), (b"a", b"b", False), (1, "a", False), ([2], [1], True),
     ({}, {}, False), (None, None, False)],
)  # fmt: skip
def test_greater(one: Any, other: Any, *, more: bool) -> None:
    assert greater(one, other) is more


def test_lists_join_by_their_kind() -> None:
    assert joined([1], [1, 2]) == [1, 1, 2]
    assert joined(ListSet([1, 2]), [2, 3, 3]) == [1, 2, 3]
    found = joined(ListMap([{"k": 1, "v": 1}, {"k": 2}], ("k",)), [{"k": 3}, {"k": 1, "v": 9}])
    assert found == [{"k": 1, "v": 9}, {"k": 2}, {"k": 3}]
    assert isinstance(found, ListMap)
