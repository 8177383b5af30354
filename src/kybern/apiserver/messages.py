"""Answers that go on, as the messages of a WebSocket, for clients that ask so: logs and watches (upstream: wsstream).

Without a subprotocol, and with ``binary.k8s.io``, messages are bytes; with ``base64.binary.k8s.io`` they are text.
"""

import base64

from aiohttp import web

from kybern.daemon import upgrade
from kybern.daemon.sockets import accepted

_BINARY, _TEXT = "binary.k8s.io", "base64.binary.k8s.io"


def wanted(request: web.BaseRequest) -> bool:
    """Whether a client asks for messages."""
    return upgrade.wanted(request.headers) and request.headers["Upgrade"].lower() == "websocket"


async def opened(request: web.BaseRequest) -> web.WebSocketResponse:
    return await accepted(request, (_BINARY, _TEXT))


class Messages:
    """Takes the place of a response; ``open`` answers the client."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, request: web.BaseRequest) -> "Messages":
        return cls(await opened(request))

    async def write(self, chunk: bytes) -> None:
        if self._socket.ws_protocol == _TEXT:
            await self._socket.send_str(base64.b64encode(chunk).decode())
        else:
            await self._socket.send_bytes(chunk)

    async def close(self) -> web.StreamResponse:
        """Say that this was all."""
        await self._socket.close()
        return self._socket
