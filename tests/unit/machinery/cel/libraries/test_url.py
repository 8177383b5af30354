"""kubernetes.urls."""

from typing import Any

import pytest

from kybern.machinery.cel.functions import Range
from kybern.machinery.cel.libraries.url import LIBRARY
from tests.unit.machinery.cel.libraries.calls import call, counted, estimated, fails, size


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("/path", "scheme", ""),
        ("https://example.com/", "scheme", "https"),
        ("https://example.com:80/", "host", "example.com:80"),
        ("https://example.com/", "host", "example.com"),
        ("https://[::1]:80/", "host", "[::1]:80"),
        ("/path", "host", ""),
        ("https://example.com:80/", "hostname", "example.com"),
        ("https://127.0.0.1:80/", "hostname", "127.0.0.1"),
        ("https://[::1]:80/", "hostname", "::1"),
        ("/path", "hostname", ""),
        ("https://example.com:80/", "port", "80"),
        ("https://example.com/", "port", ""),
        ("https://example.com/path", "escaped_path", "/path"),
        ("https://example.com/path with spaces/", "escaped_path", "/path%20with%20spaces/"),
        ("https://example.com", "escaped_path", ""),
        ("https://example.com/path?k1=a&k2=b&k2=c", "query", {"k1": ["a"], "k2": ["b", "c"]}),
        ("https://e.com/path?key with spaces=value with spaces", "query",
         {"key with spaces": ["value with spaces"]}),
        ("https://example.com/path?", "query", {}),
        ("https://example.com/path#x?y", "query", {}),
    ],
)  # fmt: skip
def test_parts(text: str, name: str, found: Any) -> None:
    assert call(LIBRARY, f"url_get_{name}", call(LIBRARY, "string_to_url", text)) == found


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("https://user:pass@example.com:80/path?query=val#fragment", True),
        ("/absolute-path", True),
        ("https://a:b:c/", False),
        ("../relative-path", False),
        ("", False),
    ],
)
def test_what_is_a_url(text: str, *, valid: bool) -> None:
    assert call(LIBRARY, "is_url_string", text) is valid


def test_what_is_none_says_why() -> None:
    says = 'URL parse error during conversion from string: parse "../x": invalid URI for request'
    assert fails(LIBRARY, "string_to_url", "../x") == says


def test_urls_are_equal_by_what_they_say() -> None:
    one, other = (call(LIBRARY, "string_to_url", f"https://{host}/a?b") for host in ("x", "x"))
    assert one == other
    assert one != call(LIBRARY, "string_to_url", "https://x/a?c")


def test_costs() -> None:
    assert estimated(LIBRARY, "string_to_url", Range(5, 21)) == (1, 3)
    assert size(LIBRARY, "string_to_url", Range(5, 21)) == (5, 21)
    assert counted(LIBRARY, "string_to_url", "https://example.com/") == 2
