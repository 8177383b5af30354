"""What of a client's fields other servers may see."""

import pytest

from kybern.apiserver.passing import fields
from kybern.auth.certificates import ProxyHeaders

OTHERS = ProxyHeaders((), ("x-u",), ("x-i",), ("x-g",), ("x-e-",))


@pytest.mark.parametrize(
    "name",
    [
        "X-Remote-User", "x-remote-group", "X-Remote-Uid", "X-Remote-Extra-Scopes",
        "X-U", "X-G", "X-E-A", "Impersonate-User", "Impersonate-Extra-a", "Authorization", "Connection", "Te", "Host",
    ],
)  # fmt: skip
def test_nobody_speaks_for_others_through_this_server(name: str) -> None:
    assert fields.asked([(name, "system:masters"), ("X-Other", "c")], OTHERS) == [("X-Other", "c")]


def test_what_a_connection_names_stays_on_it() -> None:
    given = [("Connection", "Keep-Alive, X-Mine"), ("X-Mine", "1"), ("Accept", "a/b")]

    assert fields.asked(given, OTHERS) == [("Accept", "a/b")]


def test_what_asks_for_another_protocol_goes_along_when_it_shall() -> None:
    given = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("X-Remote-User", "root")]

    assert fields.asked(given, OTHERS, upgrade=True) == given[:2]
