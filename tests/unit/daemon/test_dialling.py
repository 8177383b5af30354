"""Why another server cannot be reached, in words that clients know."""

import errno

import aiohttp
import pytest

from kybern.daemon.dialling import refusal


@pytest.mark.parametrize(
    ("problem", "wanted"),
    [
        (
            OSError(errno.ECONNREFUSED, "Connect call failed"),
            "dial tcp 10.0.0.1:80: connect: connection refused",
        ),
        (OSError(errno.EHOSTUNREACH, ""), "dial tcp 10.0.0.1:80: connect: no route to host"),
        (TimeoutError(), "dial tcp 10.0.0.1:80: i/o timeout"),
        (OSError(errno.ETIMEDOUT, ""), "dial tcp 10.0.0.1:80: i/o timeout"),
        (aiohttp.ServerDisconnectedError(), "EOF"),
        (ValueError("odd"), "odd"),
        (ValueError(), "ValueError"),
    ],
)
def test_problems_have_upstreams_words(problem: Exception, wanted: str) -> None:
    assert refusal(problem, "10.0.0.1", 80) == wanted


def test_addresses_of_ipv6_are_bracketed() -> None:
    assert refusal(TimeoutError(), "fd00::1", 80) == "dial tcp [fd00::1]:80: i/o timeout"
