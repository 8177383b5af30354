"""kubernetes.regex."""

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.regex import LIBRARY
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails, size


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [("abc 123", "[0-9]+", "123"), ("abc 123", "[0-9]*", ""), ("abc 123", "xyz", ""), ("aXb", "(?i)x", "X")],
)
def test_find(text: str, pattern: str, found: str) -> None:
    assert call(LIBRARY, "string_find_string", text, pattern) == found


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [("123 abc 456", "[0-9]+", ["123", "456"]), ("123 abc 456", "xyz", []), ("", "a*", [""])],
)
def test_find_all(text: str, pattern: str, found: list[str]) -> None:
    assert call(LIBRARY, "string_find_all_string", text, pattern) == found


@pytest.mark.parametrize(
    ("limit", "found"), [(1, ["123"]), (0, []), (-1, ["123", "456"]), (5, ["123", "456"])]
)
def test_find_so_many(limit: int, found: list[str]) -> None:
    assert call(LIBRARY, "string_find_all_string_int", "123 abc 456", "[0-9]+", limit) == found


@pytest.mark.parametrize("name", ["string_find_string", "string_find_all_string"])
def test_what_is_no_pattern(name: str) -> None:
    says = "Illegal regex: error parsing regexp: missing closing ): `(a`"
    assert fails(LIBRARY, name, "a", "(a") == says


def test_costs() -> None:
    assert estimated(LIBRARY, "string_find_string", Range(0, 9), Range(4, 4)) == (1, 1)
    assert estimated(LIBRARY, "string_find_all_string", Range(10, 99), Range(8, 9)) == (4, 30)
    assert size(LIBRARY, "string_find_string", Range(3, 9), Range(4, 4)) == (0, 9)
    assert counted(LIBRARY, "string_find_string", "abc 123 xyz", "[0-9]+") == 4
