"""What the grammar takes, and what is said of what it does not take."""

import sys

import pytest

from kybern.machinery.cel.source import Source
from kybern.machinery.cel.syntax.parser import parse
from kybern.machinery.cel.syntax.tree import Call, Comprehension, Ident, Literal, Message, Node, Select
from kybern.machinery.cel.values import Uint
from tests.unit.machinery.cel.expressions import messages, value, wrong

START = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"

IN_BRACES = START.replace("'('", "'}', '('").replace("'-', '!'", "',', '-', '!', '?'")


def tree(text: str) -> Node:
    found = parse(Source(text))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-1", -1),
        ("0x1F", 31),
        ("-0xf", -15),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("7u", Uint(7)),
        ("0xFFu", Uint(255)),
        ("18446744073709551615u", Uint(2**64 - 1)),
        ("1.5", 1.5),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("1e-2", 0.01),
        ("true", True),
        ("false", False),
        ("null", None),
        ("'a'", "a"),
        ('"a"', "a"),
        (r"'\n\t\\\'\"\?\`'", "\n\t\\'\"?`"),
        (r"r'\n'", "\\n"),
        (r'R"\d"', r"\d"),
        ("'''a'b\nc'''", "a'b\nc"),
        ('"""a"b"""', 'a"b'),
        ("'''a\r\nb'''", "a\nb"),
        (r"'\x41\u00e9\U0001F600\101'", "Aé😀A"),
        ("b'abc'", b"abc"),
        (r"b'\xff\101'", b"\xffA"),
        ("b'ÿ'", "ÿ".encode()),
        (r"br'\n'", rb"\n"),
        ("''", ""),
        ("b''", b""),
    ],
)
def test_literals_stand_for_values(text: str, expected: object) -> None:
    found = parse(Source(text))

    assert isinstance(found, Literal)
    assert found.value == expected
    assert type(found.value) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 2 - 3", 5),
        ("2 * 3 % 4", 2),
        ("-2 + 5", 3),
        ("- 2", -2),
        ("--2", 2),
        ("!true", False),
        ("!!true", True),
        ("!!!true", False),
        ("1 < 2 == true", True),
        ("1 + 2 < 4 && 3 > 2", True),
        ("false || true && false", False),
        ("true ? 1 : false ? 2 : 3", 1),
        ("false ? 1 : false ? 2 : 3", 3),
        ("[1, 2, 3,][2]", 3),
        ("{'a': 1,}.a", 1),
        ("[[1], [2]][1][0]", 2),
        ("1 // a comment", 1),
        ("1 +\n2", 3),
        ("5 - -3", 8),
        ("5 -3", 2),
        ("-(3)", -3),
        ("[,].size()", 0),
        ("{,}.size()", 0),
        ("2 in [1, 2] == true", True),
    ],
)
def test_operators_bind_as_in_the_grammar(text: str, expected: object) -> None:
    assert value(text) == expected


def test_chains_of_logic_are_balanced() -> None:
    found = tree("a && b && c && d")

    assert isinstance(found, Call)
    left, right = found.arguments
    assert isinstance(left, Call)
    assert isinstance(right, Call)
    assert [each.name for each in (*left.arguments, *right.arguments) if isinstance(each, Ident)] == list(
        "abcd"
    )


@pytest.mark.parametrize(
    ("text", "function"),
    [("a.?b", "_?._"), ("a[?0]", "_[?_]"), ("a[0]", "_[_]"), ("a.b(c)", "b"), ("b(c)", "b"), (".b(c)", ".b")],
)
def test_calls_are_told_apart(text: str, function: str) -> None:
    found = tree(text)

    assert isinstance(found, Call)
    assert found.function == function


def test_names_of_messages_have_parts() -> None:
    found = tree("Object.spec{replicas: 1, ?name: x}")

    assert isinstance(found, Message)
    assert found.name == "Object.spec"
    assert [(each.name, each.optional) for each in found.fields] == [("replicas", False), ("name", True)]


def test_words_that_are_reserved_name_fields() -> None:
    found = tree("a.namespace.if")

    assert isinstance(found, Select)
    assert found.field == "if"


@pytest.mark.parametrize(
    "text",
    [
        "l.all(x, x > 1)",
        "l.exists(x, x)",
        "l.exists_one(x, x)",
        "l.existsOne(x, x)",
        "l.map(x, x)",
        "l.map(x, x, x)",
        "l.filter(x, x)",
        "l.all(i, x, x)",
        "l.exists(i, x, x)",
        "l.existsOne(i, x, x)",
        "l.exists_one(i, x, x)",
        "l.transformList(i, x, x)",
        "l.transformList(i, x, i, x)",
        "l.transformMap(i, x, x)",
        "l.transformMap(i, x, i, x)",
        "l.transformMapEntry(i, x, {i: x})",
        "l.transformMapEntry(i, x, i, {i: x})",
        "l.sortBy(x, x)",
    ],
)
def test_macros_become_comprehensions(text: str) -> None:
    assert isinstance(tree(text), Comprehension)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + $", ["token recognition error at: '$'", f"mismatched input '<EOF>' expecting {START}"]),
        (
            "*@a | b",
            [
                f"extraneous input '*' expecting {START}",
                "token recognition error at: '@'",
                "token recognition error at: '| '",
                "extraneous input 'b' expecting <EOF>",
            ],
        ),
        ("a | b", ["token recognition error at: '| '", "extraneous input 'b' expecting <EOF>"]),
        ("1 + +", [f"mismatched input '+' expecting {START}", f"mismatched input '<EOF>' expecting {START}"]),
        ("in", [f"mismatched input 'in' expecting {START}", f"mismatched input '<EOF>' expecting {START}"]),
        ('{"a": 1}."a"', ["no viable alternative at input '.\"a\"'"]),
        ("TestAllTypes(){}", ["mismatched input '{' expecting <EOF>"]),
        ("TestAllTypes{}()", ["mismatched input '(' expecting <EOF>"]),
        ("1 + 2\n3 +", ["mismatched input '3' expecting <EOF>"]),
        ("", [f"mismatched input '<EOF>' expecting {START}"]),
        ("f(a", ["missing ')' at '<EOF>'"]),
        ("(a b)", ["extraneous input 'b' expecting ')'"]),
        ("[1, 2", ["missing ']' at '<EOF>'"]),
        ("a ? b", ["mismatched input '<EOF>' expecting ':'"]),
        ("a.true", ["mismatched input 'true' expecting IDENTIFIER"]),
        ("-+", ["no viable alternative at input '-+'"]),
        ("!-x", ["no viable alternative at input '-x'"]),
        ("-!x", ["no viable alternative at input '-!'"]),
        ("a.", ["no viable alternative at input '.'"]),
        ("a.?", ["mismatched input '<EOF>' expecting {IDENTIFIER, ESC_IDENTIFIER}"]),
        ("'abc", ["token recognition error at: ''abc'", f"mismatched input '<EOF>' expecting {START}"]),
        ("{1}", ["mismatched input '}' expecting ':'"]),
        ("f(", [f"mismatched input '<EOF>' expecting {START.replace("'.'", "')', '.'")}"]),
        ("{", [f"mismatched input '<EOF>' expecting {IN_BRACES}"]),
    ],
)
def test_syntax_errors_are_told_as_upstream_tells_them(text: str, expected: list[str]) -> None:
    assert messages(text) == [f"Syntax error: {each}" for each in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0xFFFFFFFFFFFFFFFFF", "invalid int literal"),
        ("9223372036854775808", "invalid int literal"),
        ("0xFFFFFFFFFFFFFFFFFu", "invalid uint literal"),
        ("1.99e90000009", "invalid double literal"),
        ("has(m)", "invalid argument to has() macro"),
        ("1.all(2, 3)", "argument must be a simple name"),
        ("m.filter(a.b, false)", "argument is not an identifier"),
        ("m.map(__result__, __result__)", "iteration variable overwrites accumulator variable"),
        ("m.all(x, x, true)", "duplicate variable name: x"),
        ("as", "reserved identifier: as"),
        ("while(1)", "reserved identifier: while"),
        ("package", "reserved identifier: package"),
        ("a.`b-c`", "unsupported syntax: '`'"),
        (r"'\ud800'", "invalid unicode code point"),
        (r"b'\u0041'", "unable to unescape string"),
        ("a.optMap(1, 2)", "optMap() variable name must be a simple identifier"),
    ],
)
def test_what_the_grammar_takes_may_be_wrong_all_the_same(text: str, expected: str) -> None:
    assert messages(text) == [expected]


def test_errors_show_the_line_and_the_place() -> None:
    assert wrong("1 + 2 +\n\tfoo") == (
        "ERROR: <input>:2:2: undeclared reference to 'foo' (in container '')\n |  foo\n | .^"
    )


def test_marks_are_wide_under_wide_characters() -> None:
    assert wrong("'😁' in.😁").splitlines()[:3] == [
        "ERROR: <input>:1:8: Syntax error: token recognition error at: '😁'",
        " | '😁' in.😁",
        " | .\uff0e.....\uff3e",
    ]


def test_errors_come_in_the_order_of_their_places() -> None:
    shown = wrong("[1, 2, 3].map(var, var * var)")

    assert [line for line in shown.splitlines() if line.startswith("ERROR")] == [
        "ERROR: <input>:1:15: reserved identifier: var",
        "ERROR: <input>:1:15: argument is not an identifier",
        "ERROR: <input>:1:20: reserved identifier: var",
        "ERROR: <input>:1:26: reserved identifier: var",
    ]


def test_expressions_have_a_length() -> None:
    assert wrong("1" + " " * 100_000) == (
        "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000"
    )


def test_expressions_have_a_depth() -> None:
    assert value("(" * 249 + "1" + ")" * 249) == 1
    assert (
        wrong("(" * 251 + "1" + ")" * 251) == "ERROR: <input>:-1:0: expression recursion limit exceeded: 250"
    )
    assert messages("1" + " + 1" * 250) == ["expression recursion limit exceeded: 250"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 240, None),
        ("size([" * 100 + "1" + "])" * 100, 1),
        ("-(1 + " * 240 + "0" + ")" * 240, 0),
        ("".join(f"{i} == 240 ? {i} : " for i in range(240)) + "7", 7),
    ],
)
def test_what_the_grammar_allows_does_not_end_at_pythons_limit(text: str, expected: int | None) -> None:
    limit = sys.getrecursionlimit()

    if expected is None:
        assert "Syntax error" in wrong(text)
    else:
        assert value(text) == expected
    assert sys.getrecursionlimit() == limit


def test_chains_of_logic_may_be_long() -> None:
    assert value(" && ".join(["true"] * 2000)) is True
