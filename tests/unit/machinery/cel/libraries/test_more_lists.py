"""cel.lib.ext.lists."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.more_lists import LIBRARY
from kybern.machinery.cel.measures import MOST
from kybern.machinery.cel.values import Duration, Uint
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails, size


@pytest.mark.parametrize(
    ("start", "end", "found"), [(0, 4, [1, 2, 3, 4]), (1, 2, [2]), (2, 2, []), (4, 4, []), (0, 0, [])]
)
def test_slices(start: int, end: int, found: list[int]) -> None:
    assert call(LIBRARY, "list_slice", [1, 2, 3, 4], start, end) == found


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (-1, 2, "cannot slice(-1, 2), negative indexes not supported"),
        (0, -1, "cannot slice(0, -1), negative indexes not supported"),
        (2, 1, "cannot slice(2, 1), start index must be less than or equal to end index"),
        (1, 5, "cannot slice(1, 5), list is length 4"),
    ],
)
def test_slices_that_are_not_there(start: int, end: int, says: str) -> None:
    assert fails(LIBRARY, "list_slice", [1, 2, 3, 4], start, end) == says


@pytest.mark.parametrize(
    ("values", "depth", "found"),
    [
        ([1, [2, [3, [4]]]], 1, [1, 2, [3, [4]]]),
        ([1, [2, [3, [4]]]], 2, [1, 2, 3, [4]]),
        ([1, [2, [3, [4]]]], 9, [1, 2, 3, 4]),
        ([[1]], 0, [[1]]),
        ([], 1, []),
    ],
)
def test_flat_lists(values: list[Any], depth: int, found: list[Any]) -> None:
    assert call(LIBRARY, "list_flatten_int", values, depth) == found
    assert call(LIBRARY, "list_flatten", [1, [2, [3]]]) == [1, 2, [3]]
    assert fails(LIBRARY, "list_flatten_int", values, -1) == "level must be non-negative"


@pytest.mark.parametrize(
    ("kind", "values", "found"),
    [
        ("int", [3, 1, 2], [1, 2, 3]),
        ("string", ["b", "a"], ["a", "b"]),
        ("bool", [True, False], [False, True]),
        ("google.protobuf.Duration", [Duration(2), Duration(1)], [Duration(1), Duration(2)]),
        ("bytes", [], []),
    ],
)
def test_sorting(kind: str, values: list[Any], found: list[Any]) -> None:
    assert call(LIBRARY, f"list_{kind}_sort", values) == found


def test_sorting_by_keys() -> None:
    names = ["foo", "bar", "baz"]
    assert call(LIBRARY, "list_int_sortByAssociatedKeys", names, [3, 1, 2]) == ["bar", "baz", "foo"]
    assert fails(LIBRARY, "list_int_sortByAssociatedKeys", names, [1]) == (
        "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got 3 and 1 elements"
        " respectively"
    )


def test_what_cannot_be_sorted() -> None:
    assert fails(LIBRARY, "list_int_sort", [1, "a"]) == "list elements must have the same type"
    assert fails(LIBRARY, "list_int_sort", [[1]]) == "list elements must be comparable"


def test_others() -> None:
    assert call(LIBRARY, "lists_range", 3) == [0, 1, 2]
    assert call(LIBRARY, "lists_range", -1) == []
    assert call(LIBRARY, "list_reverse", [1, 2, 3]) == [3, 2, 1]
    assert call(LIBRARY, "list_distinct", [1, 2, 1.0, Uint(2), "a", "a", [1], [1]]) == [1, 2, "a", [1]]


def test_costs() -> None:
    ten = Range(2, 10)
    assert estimated(LIBRARY, "list_slice", ten, Range(1, 1, literal=1), Range(1, 1, literal=4)) == (14, 14)
    assert estimated(LIBRARY, "list_slice", ten, Range(1, 1), Range(1, 1)) == (21, 21)
    assert size(LIBRARY, "list_slice", ten, Range(1, 1, literal=1), Range(1, 1, literal=4)) == (3, 3)
    assert estimated(LIBRARY, "list_flatten", ten) == (13, 21)
    assert estimated(LIBRARY, "list_flatten_int", ten, Range(1, 1, literal=3)) == (17, 41)
    assert estimated(LIBRARY, "list_int_sort", ten) == (19, 211)
    assert estimated(LIBRARY, "list_string_sort", ten) == (20, 221)
    assert estimated(LIBRARY, "list_int_sortByAssociatedKeys", Range(0, 1), ten) == (19, 211)
    assert size(LIBRARY, "list_distinct", ten) == (4, 100)
    assert estimated(LIBRARY, "lists_range", Range(1, 1, literal=5)) == (16, 16)
    assert estimated(LIBRARY, "lists_range", Range(1, 1)) == (MOST, MOST)
    assert counted(LIBRARY, "list_slice", [1, 2, 3], 0, 2) == 13
    assert counted(LIBRARY, "list_flatten_int", [[1], [2]], 3) == 17
    assert counted(LIBRARY, "list_distinct", [1, 2, 3]) == 29
    assert counted(LIBRARY, "list_string_sort", ["b", "a", "c"]) == 29
    assert counted(LIBRARY, "list_string_sort", []) == 11
