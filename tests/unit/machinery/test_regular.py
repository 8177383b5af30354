"""Patterns as Go reads them."""

import pytest

from kybern.machinery import regular


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
    assert regular.every(regular.compiled(pattern), text) == found


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
    assert regular.every(regular.compiled("[0-9]"), "1 2 3", limit) == found


def test_the_first_match_is_the_leftmost() -> None:
    assert regular.first(regular.compiled("b|a"), "xab") == "a"
    assert regular.first(regular.compiled("q"), "xab") == ""


def test_groups_nest_only_so_deep() -> None:
    with pytest.raises(regular.PatternError, match="expression nests too deeply"):
        regular.compiled("(" * 1001 + ")" * 1001)
