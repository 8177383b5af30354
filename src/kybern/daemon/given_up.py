"""Connections that end badly when nobody waits for them any more: one line of the log, and no traceback.

Who asked has given up (its time was over, or another address answered), and the event loop finds out afterwards: by a future
whose error nobody takes, or by a transport that fails in the middle of TLS's handshake. Neither is a fault of this program.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp

log = logging.getLogger(__name__)

# How uvloop says that a transport is closed already.
_CLOSED = "the handler is closed"


def line(context: Mapping[str, Any]) -> str:
    """What is to be said of what an event loop could not hand to anybody; nothing where it is no connection's end. Pure.

    ``context`` is that of ``loop.call_exception_handler``.
    """
    problem = context.get("exception")
    is_end = isinstance(problem, OSError | aiohttp.ClientError) or (
        isinstance(problem, RuntimeError) and _CLOSED in str(problem)
    )
    if not is_end:
        return ""
    # uvloop raises the bare class where a peer closes during the handshake.
    return f"A connection ended that nobody waited for: {str(problem) or type(problem).__name__}"


def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler: all that is no connection's end is told as ever, with its traceback."""
    if said := line(context):
        log.info("%s", said)
    else:
        loop.default_exception_handler(context)
