"""What is said where an expression has no value: cel-go's words."""

import math

import pytest

from kybern.machinery.cel.values import Uint
from tests.unit.machinery.cel.expressions import environment, error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("1u / 0u", "division by zero"),
        ("1u % 0u", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("-9223372036854775808 - 1", "integer overflow"),
        ("-(-9223372036854775808)", "integer overflow"),
        ("9223372036854775807 * 2", "integer overflow"),
        ("-9223372036854775808 / -1", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("18446744073709551615u + 1u", "unsigned integer overflow"),
        ("{'a': 1}.b", "no such key: b"),
        ("{'a': 1}['b']", "no such key: b"),
        ("{1: 1}[2]", "no such key: 2"),
        ("{true: 1}[false]", "no such key: false"),
        ("[1][3]", "index out of bounds: 3"),
        ("[1][-1]", "index out of bounds: -1"),
        ("[1][dyn('a')]", "unsupported index type 'string' in list"),
        ("[1][dyn(0.5)]", "unsupported index value 0.5 in list"),
        ("dyn(1).a", "no such key: a"),
        ("dyn(1) + dyn('a')", "no such overload"),
        ("dyn(true) + 1", "no such overload: _+_"),
        ("dyn(null) + 1", "no such overload: _+_"),
        ("dyn('a') < 1", "no such overload"),
        ("dyn([]) < 1", "no such overload: _<_"),
        ("!dyn(1)", "no such overload"),
        ("-dyn('a')", "no such overload: -_"),
        ("dyn(1).size()", "no such overload: size"),
        ("dyn(1).startsWith('a')", "no such overload"),
        ("dyn(1).getHours()", "no such overload: getHours(int)"),
        ("1 in dyn(1)", "no such overload"),
        ("dyn(1) && true", "no such overload"),
        ("dyn('a') ? 1 : 2", "no such overload"),
        ("optional.none().value()", "optional.none() dereference"),
        ("double('NaN') < 1.0", "NaN values cannot be ordered"),
        ("{'a': 'b', 'c': 'b'}.transformMapEntry(k, v, {v: k})", "insert failed: key b already exists"),
        ("dyn(1).all(x, true)", "got 'types.Int', expected iterable type"),
        ("dyn('a').all(i, x, true)", "unsupported comprehension range type: types.String"),
        ("{?'a': dyn(1)}", "cannot initialize optional entry 'a' from non-optional value 1"),
        ("[0].map(x, 1 / x)", "division by zero"),
        ("[0].exists_one(x, 1 / x == 1)", "division by zero"),
        ("[0, 1].all(x, 1 / x == 1)", "division by zero"),
        ("[?dyn(1)]", "cannot initialize optional list element from non-optional value 1"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "timestamp overflow"),
        ("duration('2562047h') + duration('2562047h')", "integer overflow"),
        ("timestamp(0).getHours('Nowhere/Land')", "unknown time zone Nowhere/Land"),
        ("timestamp(0).getHours('x:00')", 'strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_what_has_no_value_is_told_in_upstreams_words(text: str, expected: str) -> None:
    assert error(text) == expected


@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        ("int", "x", "type conversion error from 'string' to 'int'"),
        ("int", "1.5", "type conversion error from 'string' to 'int'"),
        ("int", " 1", "type conversion error from 'string' to 'int'"),
        ("int", "9223372036854775808", "type conversion error from 'string' to 'int'"),
        ("int", 1e30, "integer overflow"),
        ("int", math.nan, "integer overflow"),
        ("int", Uint(2**63), "integer overflow"),
        ("uint", -1, "unsigned integer overflow"),
        ("uint", "-1", "type conversion error from 'string' to 'uint'"),
        ("uint", -0.5, "unsigned integer overflow"),
        ("double", "x", "type conversion error from 'string' to 'double'"),
        ("double", "1e400", "type conversion error from 'string' to 'double'"),
        ("bool", "yes", "type conversion error from 'string' to 'bool'"),
        ("string", b"\xff", "invalid UTF-8 in bytes, cannot convert to string"),
        ("duration", "1", "type conversion error from 'string' to 'google.protobuf.Duration'"),
        ("timestamp", "now", "type conversion error from 'string' to 'google.protobuf.Timestamp'"),
        ("timestamp", 253402300800, "timestamp overflow"),
        ("duration", 1, "type conversion error from 'int' to 'google.protobuf.Duration'"),
        ("int", [1], "no such overload: int(list)"),
        ("string", None, "no such overload: string(null_type)"),
    ],
)
def test_conversions_of_what_does_not_fit(function: str, argument: object, expected: str) -> None:
    assert error(f"{function}(x)", x=argument) == expected


def test_constant_conversions_are_made_when_compiling() -> None:
    with pytest.raises(
        Exception, match="program instantiation failed: type conversion error from 'string' to 'int'"
    ):
        environment({}).compile("int('a')")


def test_patterns_that_are_written_out_are_read_when_compiling() -> None:
    with pytest.raises(
        Exception, match=r"program instantiation failed: error parsing regexp: missing closing \]: `\[`"
    ):
        environment({}).compile("matches('a', '[')")
    with pytest.raises(Exception, match="program instantiation failed: error parsing regexp"):
        environment({}).compile("'a'.find('[')")
    assert error("matches('a', x)", x="[") == "error parsing regexp: missing closing ]: `[`"
