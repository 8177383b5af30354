"""Selectors: what they accept, what they refuse and how, what they match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery import selectors
from kybern.machinery.errors import BadRequest

LABELS = {"a": "1", "b": "x", "example.com/c": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("a", True), ("!a", False), ("z", False), ("!z", True), ("a=1", True), ("a==1", True), ("a!=1", False),
        ("z!=1", True), ("a in (1,2)", True), ("a in (2)", False), ("a notin (1)", False), ("z notin (1)", True),
        ("a>0", True), ("a<1", False), ("b>0", False), ("a=1,b=x", True), ("a=1,b=y", False), ("example.com/c=", True),
        ("example.com/c in ()", True), ("b in (,x)", True), (" a = 1 , b ", True), ("b in (in,notin,x)", True),
        ("example.com/c", True), ("a=,b", False),
    ],
)  # fmt: skip
def test_a_label_selector_matches(text: str, matches: bool) -> None:
    assert selectors.parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("=1", "found '=', expected: !, identifier, or 'end of string'"),
        ("n bogus 1", "unable to parse requirement: found 'bogus', expected: in, notin, =, ==, !=, gt, lt"),
        ("bad key!=1", "unable to parse requirement: found 'key', expected: in, notin, =, ==, !=, gt, lt"),
        ("n===1", "unable to parse requirement: found '=', expected: identifier"),
        ("n in (1", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("n=bad value!", "found 'value', expected: ',' or 'end of string'"),
        (
            "n>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",  # noqa: E501  # one sentence of upstream's
        ),
        (
            "n=" + "a" * 64,
            'unable to parse requirement: values[0][n]: Invalid value: "' + "a" * 64 + '": must be no more than 63 bytes',
        ),
        ("a,", "found '', expected: identifier after ','"),
    ],
)  # fmt: skip
def test_a_bad_label_selector_is_refused_in_upstream_s_words(text: str, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        selectors.parse_labels(text)
    assert caught.value.message == says


words = st.from_regex(r"\A[a-z]([-a-z0-9]{0,5}[a-z0-9])?\Z")


@given(st.dictionaries(words, words), st.dictionaries(words, words))
def test_text_and_object_agree(wanted: dict[str, str], given_labels: dict[str, str]) -> None:
    text = ",".join(f"{key}={value}" for key, value in wanted.items())
    from_text = selectors.parse_labels(text)
    from_object = selectors.of_selector({"matchLabels": wanted})
    expected = wanted.items() <= given_labels.items()
    assert from_text.matches(given_labels) is from_object.matches(given_labels) is expected
    assert selectors.parse_labels(str(from_text)).matches(given_labels) is expected


def test_an_absent_selector_matches_nothing_and_an_empty_one_everything() -> None:
    assert not selectors.of_selector(None).matches({})
    assert selectors.of_selector({}).matches({})
    assert not selectors.of_labels({}).matches({"a": "b"})


def test_a_field_selector_is_read() -> None:
    found = selectors.parse_fields("spec.nodeName!=n1,metadata.name==a\\,b")
    assert [tuple(one) for one in found.requirements] == [
        ("metadata.name", "=", "a,b"),
        ("spec.nodeName", "!=", "n1"),
    ]
    assert found.exact("metadata.name") == "a,b"
    assert found.matches({"metadata.name": "a,b", "spec.nodeName": ""}.__getitem__)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bogus", "invalid selector: 'bogus'; can't understand 'bogus'"),
        ("a=b\\c", "invalid field selector: invalid escape sequence: \\c"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_a_bad_field_selector_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        selectors.parse_fields(text)
    assert caught.value.message == says


@given(st.text(alphabet="ab\\,=", max_size=8))
def test_escaped_values_come_back(value: str) -> None:
    written = str(selectors.FieldSelector((selectors.FieldRequirement("k", "=", value),)))
    assert selectors.parse_fields(written).exact("k") == value
