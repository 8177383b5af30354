"""cel.lib.ext.strings."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.strings import LIBRARY
from kybern.machinery.cel.measures import MOST
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails, size


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("string_char_at_int", ("tacocat", 3), "o"),
        ("string_char_at_int", ("tacocat", 7), ""),
        ("string_char_at_int", ("\u00a9\u03b1T", 0), "\u00a9"),
        ("string_index_of_string", ("tacocat", ""), 0),
        ("string_index_of_string", ("tacocat", "ac"), 1),
        ("string_index_of_string", ("tacocat", "none"), -1),
        ("string_index_of_string", ("ta\u00a9o\u03b1T", "o"), 3),
        ("string_index_of_string_int", ("tacocat", "", 3), 3),
        ("string_index_of_string_int", ("tacocat", "a", 3), 5),
        ("string_index_of_string_int", ("tacocat", "at", 3), 5),
        ("string_index_of_string_int", ("tacocat", "a", 20), -1),
        ("string_last_index_of_string", ("tacocat", ""), 7),
        ("string_last_index_of_string", ("tacocat", "at"), 5),
        ("string_last_index_of_string", ("tacocat", "none"), -1),
        ("string_last_index_of_string", ("at", "tacocat"), -1),
        ("string_last_index_of_string_int", ("tacocat", "", 3), 3),
        ("string_last_index_of_string_int", ("tacocat", "a", 3), 1),
        ("string_last_index_of_string_int", ("tacocat", "at", 6), 5),
        ("string_last_index_of_string_int", ("tacocat", "at", 20), -1),
        ("string_last_index_of_string_int", ("tacocat", "t", 0), 0),
        ("string_lower_ascii", ("TacoCÆt",), "tacocÆt"),
        ("string_upper_ascii", ("tacoCÆt æ",), "TACOCÆT æ"),
        ("string_replace_string_string", ("12 days 12 hours", "{0}", "2"), "12 days 12 hours"),
        ("string_replace_string_string", ("hello hello", "he", "we"), "wello wello"),
        ("string_replace_string_string", ("ab", "", "-"), "-a-b-"),
        ("string_replace_string_string_int", ("hello hello", "he", "we", 1), "wello hello"),
        ("string_replace_string_string_int", ("hello hello", "he", "we", 0), "hello hello"),
        ("string_replace_string_string_int", ("hello hello", "he", "we", -3), "wello wello"),
        ("string_split_string", ("hello world", " "), ["hello", "world"]),
        ("string_split_string", ("ab", ""), ["a", "b"]),
        ("string_split_string", ("", ","), [""]),
        ("string_split_string", ("", ""), []),
        ("string_split_string_int", ("a b c", " ", 0), []),
        ("string_split_string_int", ("a b c", " ", 1), ["a b c"]),
        ("string_split_string_int", ("a b c", " ", 2), ["a", "b c"]),
        ("string_split_string_int", ("a b c", " ", -1), ["a", "b", "c"]),
        ("string_split_string_int", ("abc", "", 2), ["a", "bc"]),
        ("string_split_string_int", ("abc", "", 9), ["a", "b", "c"]),
        ("string_substring_int", ("tacocat", 4), "cat"),
        ("string_substring_int", ("tacocat", 7), ""),
        ("string_substring_int_int", ("tacocat", 0, 4), "taco"),
        ("string_substring_int_int", ("ta\u00a9o\u03b1T", 2, 6), "\u00a9o\u03b1T"),
        ("string_substring_int_int", ("tacocat", 4, 4), ""),
        ("string_trim", (" \f\n\r\t\vtext  \u3000\u0085",), "text"),
        ("string_trim", ("\x1ctext\u200b",), "\x1ctext\u200b"),
        ("list_join", (["x", "y"],), "xy"),
        ("list_join_string", (["x", "y"], "-"), "x-y"),
        ("list_join_string", ([], "-"), ""),
        ("strings_quote", ('first\nsecond "line"',), r'"first\nsecond \"line\""'),
        ("strings_quote", ("bell\a\\",), r'"bell\a\\"'),
        ("string_format", ("%s is %d", ["a", 1]), "a is 1"),
    ],
)
def test_functions(name: str, arguments: tuple[Any, ...], found: Any) -> None:
    assert call(LIBRARY, name, *arguments) == found


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("string_char_at_int", ("tacocat", 30), "index out of range: 30"),
        ("string_char_at_int", ("tacocat", -1), "index out of range: -1"),
        ("string_index_of_string_int", ("tacocat", "a", -1), "index out of range: -1"),
        ("string_last_index_of_string_int", ("tacocat", "a", -1), "index out of range: -1"),
        ("string_substring_int", ("tacocat", 40), "index out of range: 40"),
        ("string_substring_int", ("tacocat", -1), "index out of range: -1"),
        ("string_substring_int_int", ("tacocat", 1, 50), "index out of range: 50"),
        ("string_substring_int_int", ("tacocat", 49, 50), "index out of range: 49"),
        ("string_substring_int_int", ("tacocat", 4, 3), "invalid substring range. start: 4, end: 3"),
        ("list_join", (["x", 1],), "join: invalid input: 1"),
        ("string_format", ("%s", []), "index 0 out of range"),
    ],
)
def test_failures(name: str, arguments: tuple[Any, ...], says: str) -> None:
    assert fails(LIBRARY, name, *arguments) == says


TEN, TWO, FOUR = Range(0, 10), Range(2, 2), Range(1, 4)


@pytest.mark.parametrize(
    ("name", "sizes", "cost", "measure"),
    [
        ("string_lower_ascii", (Range(3, 25),), (1, 3), (3, 25)),
        ("string_trim", (Range(3, 25),), (1, 3), (3, 25)),
        ("string_substring_int", (Range(3, 25), Range(1, 1)), (1, 3), (3, 25)),
        ("string_replace_string_string", (TEN, TWO, TWO), (0, 2), (0, 10)),
        ("string_replace_string_string", (TEN, TWO, FOUR), (0, 2), (0, 20)),
        ("string_replace_string_string", (TEN, Range(0, 0), TWO), (0, 2), (2, 32)),
        ("string_replace_string_string", (Range(4, 10), FOUR, Range(0, 1)), (1, 2), (0, 10)),
        (
            "string_replace_string_string",
            (Range(0, MOST), TWO, Range(0, MOST)),
            (0, 3689348814741910528),
            (0, MOST),
        ),
        ("string_split_string", (TEN, TWO), (0, 2), (0, 10)),
        ("string_split_string_int", (TEN, TWO, Range(1, 1, literal=3)), (0, 2), (0, 3)),
        ("string_split_string_int", (TEN, TWO, Range(1, 1, literal=-1)), (0, 2), (0, MOST)),
        ("list_join", (Range(1, 10, items=Range(0, 20)),), (0, 20), (0, 200)),
        ("list_join_string", (Range(1, 10, items=Range(0, 20)), TWO), (0, 22), (0, 218)),
        ("list_join_string", (Range(0, 0, items=TEN), TWO), (0, 0), (0, 0)),
        ("strings_quote", (TEN,), (0, 1), (2, 22)),
    ],
)
def test_estimates(
    name: str, sizes: tuple[Range, ...], cost: tuple[int, int], measure: tuple[int, int]
) -> None:
    assert estimated(LIBRARY, name, *sizes) == cost
    assert size(LIBRARY, name, *sizes) == measure


@pytest.mark.parametrize(
    ("name", "arguments", "cost"),
    [
        ("string_lower_ascii", ("A" * 11,), 2),
        ("string_index_of_string", ("a" * 25, "a"), 2),
        ("string_replace_string_string", ("a" * 11, "a", "bb"), 3),
        ("string_split_string", ("a" * 11, ""), 3),
        ("list_join_string", (["a" * 10, "b" * 10], ","), 5),
        ("string_format", ("%s" * 8, list("abcdefgh")), 2),
        ("strings_quote", ("a" * 11,), 2),
    ],
)
def test_counts(name: str, arguments: tuple[Any, ...], cost: int) -> None:
    assert counted(LIBRARY, name, *arguments) == cost
