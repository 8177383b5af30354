"""What /exec, /attach and /portForward are asked for."""

import pytest
from multidict import MultiDict

from kybern.kubelet.connect import NotSo, ports, streams


def test_a_terminal_has_no_error_stream() -> None:
    for asked in (MultiDict(output="1", error="1", tty="1"), MultiDict(stdout="1", stderr="1", tty="1")):
        assert streams(asked) == {"stdin": False, "stdout": True, "stderr": False, "tty": True}


def test_some_stream_must_be_wanted() -> None:
    with pytest.raises(NotSo, match="at least 1 of stdin, stdout, stderr"):
        streams(MultiDict())


def test_a_websocket_names_its_ports_at_once() -> None:
    assert ports(MultiDict(port="80,81"), required=True) == (80, 81)
    assert ports(MultiDict(), required=False) == ()
    for bad in (MultiDict(), MultiDict(port=""), MultiDict(port="0"), MultiDict(port="70000")):
        with pytest.raises(NotSo):
            ports(bad, required=True)
