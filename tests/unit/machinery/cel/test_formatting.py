"""Clauses of format strings, in cel-go's words."""

from typing import Any

import pytest

from kybern.machinery.cel import types
from kybern.machinery.cel.formatting import form
from kybern.machinery.cel.values import Duration, EvaluationError, Timestamp, Uint


@pytest.mark.parametrize(
    ("pattern", "arguments", "text"),
    [
        ("no substitution", [], "no substitution"),
        ("%s, %s", ["a", "b"], "a, b"),
        ("%% and %%", [], "% and %"),
        ("%s", [1], "1"),
        ("%s", [Uint(64)], "64"),
        ("%s", [True], "true"),
        ("%s", [None], "null"),
        ("%s", [0.000000002], "2e-09"),
        ("%s", [1.5], "1.5"),
        ("%s", [2.0], "2"),
        ("%s", [1000000.0], "1e+06"),
        ("%s", [123456.0], "123456"),
        ("%s", [b"xyz"], "xyz"),
        ("%s", [types.STRING], "string"),
        ("%s", [Duration(5400 * 10**9)], "5400s"),
        ("%s", [Duration(-1500000000)], "-1.5s"),
        ("%s", [Timestamp(1675467787 * 10**9)], "2023-02-03T23:43:07Z"),
        ("%s", [Timestamp(1500000)], "1970-01-01T00:00:00.0015Z"),
        ("%s", [["abc", 3.14, None, [9, 8]]], '["abc", 3.140000, null, [9, 8]]'),
        ("%s", [{"k": [1], 2: b"x", True: Uint(1)}], '{"k":[1], 2:b"x", true:1}'),
        ("%s", [[Duration(10**9), Timestamp(0)]], '[duration("1s"), timestamp("1970-01-01T00:00:00Z")]'),
        ("%d", [-42], "-42"),
        ("%d", [Uint(2**64 - 1)], "18446744073709551615"),
        ("%f", [2.71828], "2.718280"),
        ("%.3f", [1.2345], "1.234"),
        ("%.2f", [1234567.891], "1,234,567.89"),
        ("%f", ["NaN"], "NaN"),
        ("%f", ["Infinity"], "∞"),
        ("%f", [float("-inf")], "-∞"),
        ("%e", [2.71828], "2.718280\u202f\u00d7\u202f10\u2070\u2070"),
        ("%.6e", [1052.032911275], "1.052033\u202f\u00d7\u202f10\u2070\u00b3"),
        ("%b", [-5], "-101"),
        ("%b", [True], "1"),
        ("%b", [Uint(64)], "1000000"),
        ("%x", [-42], "-2a"),
        ("%X", [30], "1E"),
        ("%x", ["Hello"], "48656c6c6f"),
        ("%X", [b"\xff"], "FF"),
        ("%o", [11], "13"),
    ],
)
def test_clauses(pattern: str, arguments: list[Any], text: str) -> None:
    assert form(pattern, arguments) == text


WHILE = "error during formatting: "


@pytest.mark.parametrize(
    ("pattern", "arguments", "says"),
    [
        ("%s %s", ["a"], "index 1 out of range"),
        ("%", ["a"], "unexpected end of string"),
        ("%q", ["a"], 'could not parse formatting clause: unrecognized formatting clause "q"'),
        ("%.3", [1.0],
         "could not parse formatting clause: error while parsing precision: could not find end of precision specifier"),
        ("%.f", [1.0],
         ("could not parse formatting clause: error while parsing precision: error while converting precision to integer:"
         ' strconv.Atoi: parsing "": invalid syntax')),
        ("%d", ["a"], WHILE + "decimal clause can only be used on integers, was given string"),
        ("%d", [True], WHILE + "decimal clause can only be used on integers, was given bool"),
        ("%f", [1], WHILE + "fixed-point clause can only be used on doubles, was given int"),
        ("%e", ["x"], WHILE + "scientific clause can only be used on doubles, was given string"),
        ("%b", ["a"], WHILE + "only integers and bools can be formatted as binary, was given string"),
        ("%x", [1.0], WHILE + "only integers, byte buffers, and strings can be formatted as hex, was given double"),
        ("%o", [None], WHILE + "octal clause can only be used on integers, was given null_type"),
        ("%s", [object()],
         WHILE + "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations,"
         " and timestamps, was given object"),
        ("%s", [{1.5: 1}], WHILE + "no formatting function for map key of type double"),
    ],
)  # fmt: skip
def test_what_cannot_be_formatted(pattern: str, arguments: list[Any], says: str) -> None:
    with pytest.raises(EvaluationError) as found:
        form(pattern, arguments)
    assert str(found.value) == says
