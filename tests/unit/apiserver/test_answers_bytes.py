"""Bodies are made of bytes that lie there already, and are compressed once while they stay the same."""

import gzip

import msgspec
import pytest

from kybern.api.kinds import of_kind
from kybern.apiserver.answer import Many
from kybern.apiserver.compress import MOST_KEPT, Compressor
from kybern.apiserver.render import plain


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_list_of_any_length_is_whole(count: int) -> None:
    kind = of_kind("", "v1", "Pod")
    assert kind is not None
    items = [b'{"metadata":{"name":"p%d"}}' % number for number in range(count)]
    given = list(items)
    assert msgspec.json.decode(plain(Many(kind, given, 7))) == {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": f"p{number}"}} for number in range(count)],
    }
    assert given == items


def test_the_same_body_is_compressed_once() -> None:
    compressor = Compressor()
    first = compressor.compressed(b"a" * 1000)
    assert compressor.compressed(b"".join([b"a" * 500] * 2)) is first


def test_each_body_is_compressed_to_itself() -> None:
    compressor = Compressor()
    for body in (b"", b"a" * 1000, b"b" * 1000, b"a" * 1000, b"c" * (MOST_KEPT + 1), b"a" * 1000):
        assert gzip.decompress(compressor.compressed(body)) == body


def test_a_body_that_is_too_long_is_not_kept() -> None:
    compressor = Compressor()
    body = b"a" * (MOST_KEPT + 1)
    assert compressor.compressed(body) is not compressor.compressed(body)
