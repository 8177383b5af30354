"""kubernetes.lists."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.lists import LIBRARY
from kybern.machinery.cel.measures import MOST
from kybern.machinery.cel.values import Duration, Timestamp, Uint
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails


@pytest.mark.parametrize(
    ("kind", "values", "is_sorted"),
    [
        ("int", [], True),
        ("int", [1], True),
        ("int", [1, 2, 2, 3], True),
        ("int", [2, 1], False),
        ("uint", [Uint(1), Uint(2)], True),
        ("double", [2.0, 1.0], False),
        ("double", [1.0, float("nan"), 0.5], True),
        ("bool", [False, True], True),
        ("bool", [True, False], False),
        ("duration", [Duration(1), Duration(2)], True),
        ("timestamp", [Timestamp(2), Timestamp(1)], False),
        ("string", ["a", "b", "b", "c"], True),
        ("string", ["b", "a"], False),
        ("bytes", [b"a", b"b"], True),
        ("int", [1, "a"], True),
    ],
)
def test_is_sorted(kind: str, values: list[Any], *, is_sorted: bool) -> None:
    assert call(LIBRARY, f"list_{kind}_is_sorted_bool", values) is is_sorted


@pytest.mark.parametrize(
    ("kind", "values", "total"),
    [
        ("int", [1, 3], 4),
        ("int", [], 0),
        ("uint", [Uint(1), Uint(3)], Uint(4)),
        ("uint", [], Uint(0)),
        ("double", [1.0, 3.0], 4.0),
        ("double", [], 0.0),
        ("duration", [Duration(60), Duration(1)], Duration(61)),
        ("duration", [], Duration(0)),
        ("int", [2**63 - 1, -1], 2**63 - 2),
    ],
)
def test_sum(kind: str, values: list[Any], total: Any) -> None:
    found = call(LIBRARY, f"list_{kind}_sum_{kind}", values)
    assert (found, type(found)) == (total, type(total))


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        ("int", [2**63 - 1, 1], "integer overflow"),
        ("int", [-(2**63), -1], "integer overflow"),
        ("int", [1, "a"], "no such overload"),
        ("int", [True], "no such overload"),
        ("uint", [Uint(2**64 - 1), Uint(1)], "unsigned integer overflow"),
        ("duration", [Duration(2**63 - 1), Duration(1)], "duration overflow"),
    ],
)
def test_sums_that_fail(kind: str, values: list[Any], says: str) -> None:
    assert fails(LIBRARY, f"list_{kind}_sum_{kind}", values) == says


@pytest.mark.parametrize(
    ("kind", "values", "least", "most"),
    [
        ("int", [3, 1, 2], 1, 3),
        ("int", [1], 1, 1),
        ("double", [1.5, 0.5], 0.5, 1.5),
        ("string", ["b", "a", "c"], "a", "c"),
        ("bytes", [b"b", b"a"], b"a", b"b"),
        ("bool", [True, False], False, True),
        ("timestamp", [Timestamp(2), Timestamp(1)], Timestamp(1), Timestamp(2)),
        ("duration", [Duration(2), Duration(1)], Duration(1), Duration(2)),
    ],
)
def test_min_and_max(kind: str, values: list[Any], least: Any, most: Any) -> None:
    assert call(LIBRARY, f"list_{kind}_min_{kind}", values) == least
    assert call(LIBRARY, f"list_{kind}_max_{kind}", values) == most


@pytest.mark.parametrize("name", ["min", "max"])
def test_an_empty_list_has_no_least_and_no_most(name: str) -> None:
    assert fails(LIBRARY, f"list_int_{name}_int", []) == f"{name} called on empty list"


@pytest.mark.parametrize(
    ("values", "item", "first", "last"),
    [
        ([1, 2, 2, 3], 2, 1, 2),
        (["a", "b", "b", "c"], "b", 1, 2),
        ([1.0], 1.1, -1, -1),
        ([], "x", -1, -1),
        ([1, Uint(1), 1.0], 1, 0, 2),
        ([True], 1, -1, -1),
        ([{"a": [1]}, {"a": [1]}], {"a": [1.0]}, 0, 1),
        ([None, 0], None, 0, 0),
    ],
)
def test_places(values: list[Any], item: Any, first: int, last: int) -> None:
    assert call(LIBRARY, "list_a_index_of_int", values, item) == first
    assert call(LIBRARY, "list_a_last_index_of_int", values, item) == last


def test_costs() -> None:
    assert estimated(LIBRARY, "list_int_sum_int", Range(0, 7)) == (0, 7)
    assert estimated(LIBRARY, "list_string_max_string", Range(1, 5, items=Range(0, 20))) == (1, 15)
    assert estimated(LIBRARY, "list_string_max_string", Range(0, MOST, items=Range(0, MOST))) == (0, MOST)
    assert counted(LIBRARY, "list_int_sum_int", [1, 2, 3]) == 3
    assert counted(LIBRARY, "list_string_max_string", ["a" * 25, "b" * 10]) == 3
    assert counted(LIBRARY, "list_a_index_of_int", [{"k": 1}, [1, 2]], 3) == 3
