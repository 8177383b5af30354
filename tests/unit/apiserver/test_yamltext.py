"""YAML answers: the styles that Go's library chooses."""

import pytest
import yaml

from kybern.apiserver.yamltext import yaml_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("123", '"123"'),
        ("1e3", '"1e3"'),
        ("0x1f", '"0x1f"'),
        ("12:30", '"12:30"'),
        ("true", '"true"'),
        ("y", '"y"'),
        ("null", '"null"'),
        ("", '""'),
        ("2020-01-01T00:00:00Z", '"2020-01-01T00:00:00Z"'),
        ("1.2.3.4", "1.2.3.4"),
        ("100m", "100m"),
        ("a: b", "'a: b'"),
        ("one\ntwo", "|-\n  one\n  two"),
        ("one\ntwo\n", "|\n  one\n  two"),
        (5, "5"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_a_value_has_the_style_of_gos_library(value: object, text: str) -> None:
    found = yaml_of({"k": value}).decode()

    assert found == f"k: {text}\n"
    assert yaml.safe_load(found) == {"k": value}


def test_keys_are_sorted_and_lists_not_indented() -> None:
    assert yaml_of({"b": ["x", {"c": 1}], "a": {}}) == b"a: {}\nb:\n- x\n- c: 1\n"
