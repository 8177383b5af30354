"""Bodies read and written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery import codec
from kybern.machinery.errors import BadRequest

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab.\ny1~", max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_json_comes_back(value: Any) -> None:
    assert codec.decode_json(codec.encode_json(value), duplicates=True) == (value, [])


@given(values)
def test_yaml_comes_back(value: Any) -> None:
    if repr(value).isprintable() and "\\" not in repr(value):
        assert codec.decode_yaml(codec.encode_yaml(value), duplicates=True) == (value, [])


def test_keys_given_twice_are_named_with_their_path() -> None:
    body = b'{"a":1,"b":{"c":1,"c":2},"l":[{"x":1,"x":2}],"a":2}'
    assert codec.decode_json(body, duplicates=True) == (
        {"a": 2, "b": {"c": 2}, "l": [{"x": 2}]},
        ['duplicate field "b.c"', 'duplicate field "l[0].x"', 'duplicate field "a"'],
    )


def test_complaints_come_in_the_order_of_the_text() -> None:
    body = b'{"spec":{"odd":1,"replicas":2,"list":[{"odder":1}],"replicas":3},"last":1}'
    found = [
        'duplicate field "spec.replicas"',
        'unknown field "last"',
        'unknown field "spec.list[0].odder"',
        'unknown field "spec.odd"',
        "and more",
    ]

    assert codec.in_order(body, found) == [
        'unknown field "spec.odd"',
        'unknown field "spec.list[0].odder"',
        'duplicate field "spec.replicas"',
        'unknown field "last"',
        "and more",
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a" :1,"a" :2}',
        b'{"a"\n: 1, "a" :":"}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":1},"a":{"b":1,"c":2}}',
        b'[[{"a":"\\":","a":1}]]',
        b'{"a":{"b":{},"b":{}},"c" :1}',
    ],
)
def test_a_key_twice_is_found_however_it_is_written(body: bytes) -> None:
    assert len(codec.decode_json(body, duplicates=True)[1]) == 1


@pytest.mark.parametrize("body", [b'{"a":":","b":"\\":","c" : 1}', b'{"a" :1,"b":":"}', b"[]", b'":"', b"1"])
def test_what_only_looks_like_a_key_twice_is_none(body: bytes) -> None:
    assert codec.decode_json(body, duplicates=True)[1] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b'{"a":}', "invalid character '}' looking for beginning of value"),
        (b"{a}", "invalid character 'a' looking for beginning of object key string"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"[" * 100_000, "exceeded max depth"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
    ],
)
def test_bad_json_is_refused_in_go_s_words(body: bytes, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        codec.decode_json(body)
    assert caught.value.message == says


def test_broken_text_becomes_replacement_characters() -> None:
    assert codec.decode_json(b'{"a":"\xff","b":"\\ud800"}')[0] == {"a": "\ufffd", "b": "\ufffd"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"), ("2020-01-01", "2020-01-01"), ("yes", True), ("off", False), ("0777", 511), ("08", 8),
        ("0x1F", 31),
        ("1e3", 1000), ("1.5", 1.5), ("2.0", 2), ("~", None), ("1.2.3", "1.2.3"), ("'1'", "1"), ("100m", "100m"), ("-5", -5),
        (".5", 0.5), ("1_000", 1000),
    ],
)  # fmt: skip
def test_yaml_scalars_mean_what_go_takes_them_for(text: str, value: Any) -> None:
    assert codec.decode_yaml(f"a: {text}\n".encode())[0] == {"a": value}


def test_yaml_keys_become_text_and_doubles_are_named_by_line() -> None:
    assert codec.decode_yaml(b"1: x\ntrue: z\na: 1\na: 2\n", duplicates=True) == (
        {"1": "x", "true": "z", "a": 2},
        ['yaml: unmarshal errors:\n  line 4: key "a" already set in map'],
    )


def test_bad_yaml_is_refused() -> None:
    with pytest.raises(BadRequest, match="error converting YAML to JSON"):
        codec.decode_yaml(b"a: [")
