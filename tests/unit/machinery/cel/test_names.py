"""Names of fields as identifiers."""

import pytest

from kybern.machinery.cel.names import escaped, unescaped


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("plain", "plain"),
        ("_x1", "_x1"),
        ("my-field", "my__dash__field"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
        ("a___b", "a__underscores___b"),
        ("in", "__in__"),
        ("namespace", "__namespace__"),
        ("int", "int"),
        ("self", "self"),
        ("-a", "__dash__a"),
        ("", None),
        ("1a", None),
        ("a$", None),
        ("a b", None),
        ("é", None),
    ],
)
def test_every_name_has_one_spelling_or_none(name: str, identifier: str | None) -> None:
    assert escaped(name) == identifier


@pytest.mark.parametrize("name", ["plain", "a.b", "a-b/c", "in", "a__b", "__proto__", "_x"])
def test_every_spelling_stands_for_one_name(name: str) -> None:
    spelling = escaped(name)

    assert spelling is not None
    assert unescaped(spelling) == name
