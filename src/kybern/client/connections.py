"""The connections under the client: sockets that notice dead peers, and a pool that cuts what it gives up.

TLS says farewell before it closes, and waits for the peer's answer; aiohttp waits for that only where a connection was
whole until the end. Streams that their readers leave, and requests that ran out of time, would so keep their sockets
for as long as the other side pleases, and beyond the end of the event loop.
"""

import socket
from typing import Any, override

import aiohttp

# Milliseconds after which unanswered bytes or probes end a connection.
_USER_TIMEOUT = 6000
_PROBE_AFTER = 3
_PROBE_EVERY = 2


def _socket(address: Any) -> socket.socket:
    """A socket that notices a peer that is gone; ``address`` is what getaddrinfo gives."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
    return made


class Connections(aiohttp.TCPConnector):
    """A pool of connections whose sockets are closed as soon as nobody uses them again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(socket_factory=_socket, **options)

    @override
    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        # aiohttp offers no public place for this; tests/unit/client/test_connections.py tells when it moves.
        if should_close or protocol.should_close:
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)
