"""Links behind a proxy, and the paths and names it is asked with."""

import gzip
import zlib

import pytest

from kybern.apiserver.passing import fields, links, places, pods
from kybern.apiserver.passing.forward import _linked
from kybern.apiserver.passing.links import Origin
from kybern.apiserver.passing.places import Place
from kybern.auth.certificates import ProxyHeaders

PREFIX = "/api/v1/namespaces/a/pods/b/proxy"
ORIGIN = Origin(PREFIX, "10.0.0.1:80", "kube:6443")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("/x", f"{PREFIX}/x"),
        ("/x/", f"{PREFIX}/x/"),
        ("/", f"{PREFIX}/"),
        ("/x?a=b#c", f"{PREFIX}/x?a=b#c"),
        ("http://10.0.0.1:80/x", f"{PREFIX}/x"),
        ("https://kube:6443/x", f"https://kube:6443{PREFIX}/x"),
        (f"{PREFIX}/x", f"{PREFIX}/x"),
        ("x/y", "x/y"),
        ("#top", "#top"),
        ("https://elsewhere/x", "https://elsewhere/x"),
        ("//elsewhere/x", "//elsewhere/x"),
        ("mailto:a@b", "mailto:a@b"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_links_to_the_backend_lead_through_the_proxy(given: str, wanted: str) -> None:
    assert links.link(given, ORIGIN) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ('<a href="/x">/x</a>', f'<a href="{PREFIX}/x">/x</a>'),
        ("<IMG class=c SRC='/x' alt>", f'<img class="c" src="{PREFIX}/x" alt="">'),
        ('<link href="/x" />', f'<link href="{PREFIX}/x"/>'),
        ('<p\n><a title="&lt;" href="/x?a&amp;b">', f'<p\n><a title="&lt;" href="{PREFIX}/x?a&amp;b">'),
        (
            "<script>if (a<b) s = '<a href=\"/x\">'</script>",
            "<script>if (a<b) s = '<a href=\"/x\">'</script>",
        ),
        ('<!-- <a href="/x"> -->&copy;\n<A  HREF=x >', '<!-- <a href="/x"> -->&copy;\n<A  HREF=x >'),
        ('<p href="/x">', '<p href="/x">'),
        ("no page < at all", "no page < at all"),
    ],
)
def test_only_tags_with_a_changed_link_are_written_anew(given: str, wanted: str) -> None:
    assert links.page(given, lambda target: links.link(target, ORIGIN)) == wanted


def test_packed_pages_stay_packed() -> None:
    page, wanted = b'<a href="/x">', f'<a href="{PREFIX}/x">'.encode()
    assert gzip.decompress(_linked(gzip.compress(page), "gzip", ORIGIN)) == wanted
    flat = zlib.compress(page, wbits=-15)
    assert zlib.decompress(_linked(flat, "deflate", ORIGIN), -15) == wanted
    assert _linked(b"no gzip", "gzip", ORIGIN) == b"no gzip"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", Place("", "a", "")),
        ("a:80", Place("", "a", "80")),
        ("https:a:web", Place("https", "a", "web")),
        ("https:a:", Place("https", "a", "")),
        ("ftp:a:1", None),
        (":1", None),
        ("a:b:c:d", None),
        ("", None),
    ],
)
def test_names_have_a_scheme_and_a_port(text: str, wanted: Place | None) -> None:
    assert places.place(text) == wanted


@pytest.mark.parametrize(
    ("tail", "path", "wanted"),
    [
        ("", "/p/proxy", ""),
        ("", "/p/proxy/", "/"),
        ("/a/b", "/p/proxy/a/b", "/a/b"),
        ("/a", "/p/proxy/a/", "/a/"),
        ("/../../a", "/p/proxy/../../a", "/a"),
        ("//a", "/p/proxy//a", "/a"),
    ],
)
def test_what_follows_the_proxy_is_the_backends_path(tail: str, path: str, wanted: str) -> None:
    assert places.below(tail, path) == wanted


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("10.0.0.1", True),
        ("fd00::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("", False),
    ],
)
def test_only_addresses_of_machines_are_dialled(address: str, wanted: bool) -> None:
    assert pods.proxyable(address) is wanted


def test_fields_of_one_connection_and_of_identity_are_not_passed_on() -> None:
    given = [
        ("Connection", "Upgrade, X-Mine"), ("Upgrade", "echo"), ("X-Mine", "1"), ("Accept", "a"), ("Authorization", "b"),
        ("X-Remote-Extra-Scopes", "c"), ("Impersonate-Uid", "d"), ("accept", "e"),
    ]  # fmt: skip
    assert fields.asked(given, ProxyHeaders()) == [("Accept", "a"), ("accept", "e")]
    kept = [("Connection", "Upgrade, X-Mine"), ("Upgrade", "echo"), ("Accept", "a"), ("accept", "e")]
    assert fields.asked(given, ProxyHeaders(), upgrade=True) == kept
