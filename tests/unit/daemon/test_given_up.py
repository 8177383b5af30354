"""What an event loop finds out after everybody has given up is one line; a bug keeps its traceback."""

import asyncio
import gc
import logging
import ssl

import aiohttp
import pytest

from kybern.daemon import given_up


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (ConnectionResetError(), "ConnectionResetError"),
        (
            ConnectionAbortedError("SSL handshake is taking longer than 60.0 seconds"),
            "taking longer than 60.0",
        ),
        (ssl.SSLError(1, "record layer failure"), "record layer failure"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed"), "is closed"),
    ],
)
def test_the_end_of_a_connection_is_one_line(problem: Exception, said: str) -> None:
    found = given_up.line({"message": "Future exception was never retrieved", "exception": problem})

    assert found.startswith("A connection ended that nobody waited for: ")
    assert said in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "context", [{"message": "m"}, {"exception": KeyError("a")}, {"exception": RuntimeError()}]
)
def test_anything_else_is_none(context: dict[str, object]) -> None:
    assert given_up.line(context) == ""


async def test_a_loop_tells_both_as_it_should(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(given_up.handle)
    try:
        with caplog.at_level(logging.INFO):
            for problem in (ConnectionResetError("by peer"), KeyError("a bug")):
                waiter = loop.create_future()
                waiter.set_exception(problem)
                del waiter
                gc.collect()
    finally:
        loop.set_exception_handler(None)

    ended, bug = caplog.records
    assert ended.getMessage() == "A connection ended that nobody waited for: by peer"
    assert ended.exc_info is None
    assert bug.exc_info is not None
