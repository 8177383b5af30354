"""The body of a request: read whole, within a limit, and unpacked."""

import zlib

from aiohttp import web

from kybern.machinery.errors import BadRequest, RequestEntityTooLarge

MOST_BODY = 3 << 20


class Sent:
    """The body of a request; see ``verbs.Sent``."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.content_type = request.headers.get("Content-Type", "")

    async def read(self) -> bytes:
        request = self._request
        if not request.body_exists:
            return b""
        length = request.content_length
        if length is not None and length > MOST_BODY:
            raise _too_large()
        if request.content.is_eof():
            data = request.content.read_nowait()  # a body that came with its head, as most do
        else:
            data = await request.content.read(MOST_BODY + 1) if length is None else await request.read()
        if len(data) > MOST_BODY:
            raise _too_large()
        if request.headers.get("Content-Encoding") == "gzip" and data[:2] == b"\x1f\x8b":
            data = _unpacked(data)
        return data


def _unpacked(data: bytes) -> bytes:
    """A few bytes may hold very many: no more are unpacked than may be sent."""
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = reader.decompress(data, MOST_BODY)
    except zlib.error as problem:
        raise BadRequest(f"cannot read the body: it is no gzip: {problem}") from problem
    if reader.unconsumed_tail:
        raise _too_large()
    return found


def _too_large() -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Request entity too large: limit is {MOST_BODY}")
