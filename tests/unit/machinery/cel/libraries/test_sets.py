"""cel.lib.ext.sets."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.sets import LIBRARY
from kybern.machinery.cel.measures import MOST
from kybern.machinery.cel.values import Uint
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated


@pytest.mark.parametrize(
    ("one", "other", "contains", "equivalent", "intersects"),
    [
        ([], [], True, True, False),
        ([1], [], True, False, False),
        ([], [1], False, False, False),
        ([1, 2, 3, 4], [2, 3], True, False, True),
        ([1, 2.0, 3], [1.0, Uint(2)], True, False, True),
        ([1, 1], [1], True, True, True),
        ([1, 2], [3], False, False, False),
        ([[1], [2]], [[2, 2]], False, False, False),
        ([[1], [2, 3]], [[1]], True, False, True),
        ([1, "a"], ["a", 1], True, True, True),
        ([True], [1], False, False, False),
    ],
)
def test_sets(
    one: list[Any], other: list[Any], *, contains: bool, equivalent: bool, intersects: bool
) -> None:
    assert call(LIBRARY, "list_sets_contains_list", one, other) is contains
    assert call(LIBRARY, "list_sets_equivalent_list", one, other) is equivalent
    assert call(LIBRARY, "list_sets_intersects_list", one, other) is intersects


@pytest.mark.parametrize(("name", "times"), [("contains", 1), ("intersects", 1), ("equivalent", 2)])
def test_costs(name: str, times: int) -> None:
    overload = f"list_sets_{name}_list"
    assert estimated(LIBRARY, overload, Range(1, 10), Range(2, 5)) == (1 + 2 * times, 1 + 50 * times)
    assert estimated(LIBRARY, overload, Range(0, MOST), Range(0, 5)) == (1, MOST)
    assert counted(LIBRARY, overload, [1, 2, 3], [1, 2]) == 1 + 6 * times
