"""Where answers that last begin, the audit log is told so, without those who answer knowing who listens."""

from collections.abc import Callable

from aiohttp import web

KEY = "begun"


def listen(request: web.BaseRequest, told: Callable[[int], None]) -> None:
    request[KEY] = told


def begun(request: web.BaseRequest, code: int) -> None:
    """The answer of this request begins, with this status."""
    told: Callable[[int], None] | None = request.get(KEY)
    if told is not None:
        told(code)
