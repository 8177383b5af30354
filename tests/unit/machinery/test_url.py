"""URLs as Go's net/url reads them."""

import pytest

from kybern.machinery import url


@pytest.mark.parametrize(
    ("text", "scheme", "host", "path"),
    [
        ("https://user:pass@example.com:80/path?query=val#fragment", "https", "example.com:80", "/path"),
        ("/absolute-path", "", "", "/absolute-path"),
        ("HTTP://Example.com", "http", "Example.com", ""),
        ("https://[::1]:80/", "https", "[::1]:80", "/"),
        ("https://[fe80::1%25en0]/", "https", "[fe80::1%en0]", "/"),
        ("mailto:a@b", "mailto", "", ""),
        ("file:///etc/hosts", "file", "", "/etc/hosts"),
        ("htp:/x", "htp", "", "/x"),
        ("//host/x", "", "", "//host/x"),
        ("*", "", "", "*"),
        ("http://h%C3%A9/", "http", "hé", "/"),
    ],
)
def test_requests_are_taken_apart(text: str, scheme: str, host: str, path: str) -> None:
    found = url.parse_request(text)
    assert (found.scheme, found.host, found.path) == (scheme, host, path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty url"),
        ("../relative", "invalid URI for request"),
        ("relative", "invalid URI for request"),
        ("://x", "missing protocol scheme"),
        ("1http://x", "invalid URI for request"),
        ("https://a:b/", 'invalid port ":b" after host'),
        ("https://a:b:c/", 'invalid port ":b:c" after host'),
        ("https://[::1]x/", 'invalid port "x" after host'),
        ("http://[::1", "missing ']' in host"),
        ("http://a%zz/", 'invalid URL escape "%zz"'),
        ("http://a/%", 'invalid URL escape "%"'),
        ("http://a%41/", 'invalid URL escape "%41"'),
        ("http://a b/", 'invalid character " " in host name'),
        ("http://u[@h/", "net/url: invalid userinfo"),
        ("http://a/\x01", "net/url: invalid control character in URL"),
    ],
)
def test_what_is_no_url_says_why(text: str, says: str) -> None:
    with pytest.raises(url.UrlError) as found:
        url.parse_request(text)
    assert str(found.value).endswith(f": {says}")
    assert str(found.value).startswith('parse "')


def test_documents_have_relative_urls_and_fragments() -> None:
    assert url.parse("a/b?c#d") == url.Url(path="a/b", query="c", fragment="d")
    assert url.parse("//host/x").host == "host"
    with pytest.raises(url.UrlError, match="first path segment in URL cannot contain colon"):
        url.parse("1a:b")


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("https://example.com:80/", "example.com", "80"),
        ("https://example.com/", "example.com", ""),
        ("https://example.com:/", "example.com", ""),
        ("https://[::1]:80/", "::1", "80"),
        ("https://[::1]/", "::1", ""),
        ("/path", "", ""),
    ],
)
def test_hosts_have_a_name_and_a_port(text: str, name: str, port: str) -> None:
    found = url.parse(text)
    assert (found.hostname, found.port) == (name, port)


@pytest.mark.parametrize(
    ("path", "escaped"),
    [
        ("/path with spaces/", "/path%20with%20spaces/"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a!b'(c)*", "/a!b'(c)*"),
        ("/é", "/%C3%A9"),
        ('/"x"', "/%22x%22"),
        ("", ""),
    ],
)
def test_paths_keep_their_encoding_or_get_the_usual_one(path: str, escaped: str) -> None:
    assert url.parse(f"https://h{path}").escaped_path == escaped


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("k1=a&k2=b&k2=c", {"k1": ["a"], "k2": ["b", "c"]}),
        ("key with spaces=value+more", {"key with spaces": ["value more"]}),
        ("a", {"a": [""]}),
        ("", {}),
        ("a=1;b=2&c=%41", {"c": ["A"]}),
        ("a=%zz&b=1", {"b": ["1"]}),
    ],
)
def test_queries_have_values(query: str, values: dict[str, list[str]]) -> None:
    assert url.parse(f"https://h/?{query}").values() == values
