"""Continue tokens: upstream's, in both directions."""

import base64

import pytest

from kybern.apiserver.generic import pages
from kybern.machinery.errors import BadRequest


def test_a_token_is_what_upstream_writes() -> None:
    written = pages.encode(7, "default/a\0")

    assert (
        base64.urlsafe_b64decode(written + "==")
        == b'{"v":"meta.k8s.io/v1","rv":7,"start":"default/a\\u0000"}'
    )
    assert pages.decode(written) == pages.Token("meta.k8s.io/v1", 7, "default/a\0")


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a!b", "illegal base64 data at input byte 1"),
        ("abcde", "illegal base64 data at input byte 4"),
        (token('{"v":"v9","rv":1,"start":"a"}'), "server does not recognize this encoded version v9"),
        (token('{"v":"meta.k8s.io/v1","start":"a"}'), "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        (token('{"v":"meta.k8s.io/v1","rv":1}'), "encoded start key empty (version meta.k8s.io/v1)"),
        (token('{"v":"meta.k8s.io/v1","rv":1,"start":"../a"}'), "../a"),
        (token('{"v":"meta.k8s.io/v1","rv":1,"start":"a//b"}'), "a//b"),
        (token("{"), "unexpected end of JSON input"),
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused_in_upstreams_words(text: str, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        pages.decode(text)
    assert refused.value.message == f"invalid continue token: continue key is not valid: {says}"
