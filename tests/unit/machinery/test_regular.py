"""Patterns as Go reads them."""

import itertools
import re
import time

import pytest

from kybern.machinery import regular
from kybern.machinery.regular.machine import Machine
from kybern.machinery.regular.tree import written


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("[0-9]*", "abc 123", ["", "", "", "", "123"]),
        ("a+b*", "aab a", ["aab", "a"]),
        (r"^\d+$", "12\n", []),
        (r"^\d+\z", "12", ["12"]),
        ("(?i)ABC|x", "abcX", ["abc", "X"]),
        ("a(?i)b|c", "aBC", ["aB", "C"]),
        ("(a(?i)b)b", "aBBaBb", ["aBb"]),
        ("(?P<x>a)(?<y>b)", "ab", ["ab"]),
        (r"\pL+", "héé1", ["héé"]),
        (r"\p{Greek}+", "abπδ", ["πδ"]),
        (r"\P{L}+", "ab12", ["12"]),
        (r"[\p{Lu}_]+", "aB_c", ["B_"]),
        (r"[[:alpha:]_-]+", "ab_-1", ["ab_-"]),
        (r"[[:^digit:]]+", "1ab2", ["ab"]),
        (r"\Qa.b\E+", "axb a.bb", ["a.bb"]),
        ("(?m)^x$", "y\nx\ny", ["x"]),
        ("^x$", "y\nx\ny", []),
        ("x{2,3}?", "xxx", ["xx"]),
        ("x{2,}", "xxxx", ["xxxx"]),
        ("[]a]+", "]a", ["]a"]),
        (r"[^\d]", "1a", ["a"]),
        (r"[\]\-]+", "]-", ["]-"]),
        ("(?U)a+", "aa", ["a", "a"]),
        ("(?U)a+?", "aa", ["aa"]),
        ("a{,2}", "a{,2}", ["a{,2}"]),
        (r"\x{41}\x42\103", "ABC", ["ABC"]),
        ("(?s:.)y", "\ny", ["\ny"]),
        (".y", "\ny", []),
        (r"\s", "\v", []),
        (r"\w+", "é_1", ["_1"]),
        (r"\bb", "éb", ["b"]),
        ("a||b", "b", ["", ""]),
        ("(a|b)*c", "abc", ["abc"]),
        ("^*a", "a", ["a"]),
        (r"\.\*", ".*", [".*"]),
        ("[a-c&&b]+", "a&b", ["a&b"]),
        ("", "ab", ["", "", ""]),
    ],
)
def test_patterns_find_what_they_find_in_go(pattern: str, text: str, found: list[str]) -> None:
    assert regular.compiled(pattern).every(text) == found


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(", "missing closing ): `(`"),
        ("a(b", "missing closing ): `a(b`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[a-", "missing closing ]: `[a-`"),
        (")", "unexpected ): `)`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("(+)", "missing argument to repetition operator: `+`"),
        ("a|{2}", "missing argument to repetition operator: `{2}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("a??+", "invalid nested repetition operator: `??+`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?<=a)", "invalid or unsupported Perl syntax: `(?<`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        ("(?P<x>a)(?P<x>a)", "duplicate capture group name: `x`"),
        ("(?P<1", "invalid named capture: `(?P<1`"),
        ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
    ],
)
def test_what_go_refuses_is_refused_in_its_words(pattern: str, says: str) -> None:
    with pytest.raises(regular.PatternError) as found:
        regular.compiled(pattern)
    assert str(found.value) == f"error parsing regexp: {says}"


@pytest.mark.parametrize(
    ("limit", "found"), [(-1, ["1", "2", "3"]), (2, ["1", "2"]), (0, []), (9, ["1", "2", "3"])]
)
def test_a_limit_holds_from_nought(limit: int, found: list[str]) -> None:
    assert regular.compiled("[0-9]").every("1 2 3", limit) == found


def test_the_first_match_is_the_leftmost() -> None:
    assert regular.compiled("b|a").first("xab") == "a"
    assert regular.compiled("q").first("xab") == ""


def test_groups_nest_only_so_deep() -> None:
    with pytest.raises(regular.PatternError, match="expression nests too deeply"):
        regular.compiled("(" * 1001 + ")" * 1001)


SIGNS = "ab1_ \n"


@pytest.mark.parametrize(
    "pattern",
    ["a", "a*", "a+?b", "(a|ab)(b|)", "(a|b)*b", "(a*)*b", "(a|a)*$", "^a*$", "(?m)^b", "(?m)a$", r"\ba", r"a\B", ".b.",
     "(?s)a.b", "(a?){3}b", "a{2,3}", "a{2,}?b", "(ab|a)(bc|b)?", "[^a]+", "(?i)A_", "(|a)+", "(a|b|ab)*?b", "x*", r"\s+a",
     "(?U)a+b*", "(a+b?)+"],
)  # fmt: skip
def test_the_machine_finds_what_python_finds(pattern: str) -> None:
    found = regular.compiled(pattern)
    machine, python = Machine.of(found.tree), re.compile(written(found.tree))
    for length in range(5):
        for signs in itertools.product(SIGNS, repeat=length):
            text = "".join(signs)
            span = python.search(text)
            assert machine.find(text, 0) == (None if span is None else span.span()), text
            assert machine.matches(text) is (span is not None), text


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("(a+)+$", "a" * 40 + "b", False),
        ("(a|a)*c", "a" * 40, False),
        ("(a*)*(b*)*(c*)*d", "abc" * 30, False),
        ("x*x*x*x*y", "x" * 3000, False),
        (".*.*=.*", "x" * 5000 + "=", True),
        ("^([a-z]+.?)+$", "abc." * 500, True),
    ],
)
def test_no_pattern_takes_long(pattern: str, text: str, *, found: bool) -> None:
    began = time.process_time()
    assert regular.compiled(pattern).within(text) is found
    assert (regular.compiled(pattern).first(text) != "") is found
    assert time.process_time() - began < 5


def test_what_would_be_too_large_is_refused() -> None:
    with pytest.raises(regular.PatternError, match=r"invalid repeat count: `\{100\}`"):
        regular.compiled("((a{100}){100}){100}")
    with pytest.raises(regular.PatternError, match="expression too large"):
        regular.compiled("(abcdefghijklmnopqrstuvwxyzabcdefghijkl){1000}")
