"""Bodies that are packed."""

import gzip
from typing import Any, cast

import pytest
from aiohttp import web
from multidict import CIMultiDict

from kybern.apiserver.received import MOST_BODY, Sent
from kybern.machinery.errors import BadRequest, RequestEntityTooLarge


class Packed:
    """A request as far as its body goes."""

    body_exists = True

    def __init__(self, data: bytes) -> None:
        self.headers = CIMultiDict({"Content-Type": "application/json", "Content-Encoding": "gzip"})
        self.content_length = len(data)
        self.content = cast("Any", self)
        self._data = data

    def is_eof(self) -> bool:
        return True

    def read_nowait(self) -> bytes:
        return self._data


def sent(data: bytes) -> Sent:
    return Sent(cast("web.BaseRequest", Packed(data)))


async def test_a_packed_body_is_unpacked() -> None:
    assert await sent(gzip.compress(b'{"a":1}')).read() == b'{"a":1}'


async def test_what_would_unpack_to_too_much_is_refused() -> None:
    with pytest.raises(RequestEntityTooLarge, match="limit is 3145728"):
        await sent(gzip.compress(bytes(MOST_BODY + 1))).read()


async def test_what_cannot_be_unpacked_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="it is no gzip"):
        await sent(b"\x1f\x8bnonsense").read()
