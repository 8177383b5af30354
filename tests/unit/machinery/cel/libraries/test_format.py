"""kubernetes.format."""

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.format import FORMATS, LIBRARY
from kybern.machinery.cel.values import NONE, Optional
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dns1123Label", "my-label-name"),
        ("dns1123Subdomain", "apiextensions.k8s.io"),
        ("dns1035Label", "my-label-name"),
        ("qualifiedName", "apiextensions.k8s.io/v1beta1"),
        ("dns1123LabelPrefix", "my-label-prefix-"),
        ("dns1123SubdomainPrefix", "mysubdomain.prefix-"),
        ("dns1035LabelPrefix", "my-label-prefix-"),
        ("labelValue", "My_value.1"),
        ("labelValue", ""),
        ("uri", "http://example.com"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
        ("byte", "aGVsbG8="),
        ("date", "2021-01-01"),
        ("datetime", "2021-01-01T00:00:00Z"),
    ],
)
def test_texts_that_have_the_format(name: str, text: str) -> None:
    assert call(LIBRARY, "format-validate", call(LIBRARY, f"format.{name}"), text) == NONE


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("dns1123Label", "a.b", "must not contain dots"),
        ("dns1123Label", "a" * 64, "must be no more than 63 characters"),
        ("dns1123Label", "A_b", "a lowercase RFC 1123 label must consist of"),
        ("dns1123Subdomain", "A", "a lowercase RFC 1123 subdomain must consist of"),
        ("dns1035Label", "1a", "a DNS-1035 label must consist of"),
        ("qualifiedName", "a/b/c", "a valid label key must consist of"),
        ("dns1123LabelPrefix", "-", "a lowercase RFC 1123 label must consist of"),
        ("labelValue", "a b", "a valid label must be an empty string or consist of"),
        ("uri", "../x", 'parse "../x": invalid URI for request'),
        ("uuid", "x", "does not match the UUID format"),
        ("byte", "a", "invalid base64"),
        ("date", "2021-13-01", "invalid date"),
        ("datetime", "2021-01-01", "invalid datetime"),
    ],
)
def test_texts_that_have_not_say_why(name: str, text: str, says: str) -> None:
    found = call(LIBRARY, "format-validate", call(LIBRARY, f"format.{name}"), text)
    assert found.present
    assert len(found.value) == 1
    assert found.value[0].startswith(says)


def test_formats_have_names() -> None:
    assert call(LIBRARY, "format-named", "uuid") == Optional(present=True, value=FORMATS["uuid"])
    assert call(LIBRARY, "format-named", "nothing") == NONE
    assert FORMATS["uuid"] != FORMATS["byte"]
    assert len(FORMATS) == 13


def test_costs() -> None:
    assert estimated(LIBRARY, "format-validate", Range(1, 1), Range(0, 20)) == (0, 64)
    assert counted(LIBRARY, "format-validate", FORMATS["dns1123Label"], "my-name-of-it") == 16
    assert counted(LIBRARY, "format-validate", FORMATS["uri"], "/") == 276
