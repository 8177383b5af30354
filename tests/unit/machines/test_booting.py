"""When a machine on its way up is waited for, started again, and given up."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from kybern.machines import booting
from kybern.machines.booting import SILENCE, Next, Watch, last_words
from kybern.machines.errors import MachineError
from kybern.machines.topology import Cluster, Machine

HERE = "127.0.0.1"


def watch(*, may_start_again: bool = True) -> Watch:
    return Watch(deadline=1000, since=0, may_start_again=may_start_again)


def test_a_console_that_speaks_is_waited_for() -> None:
    one = watch()

    for now in range(0, 900, 100):
        assert one.judge(now, f"line {now}".encode()) is Next.WAIT


def test_a_silent_one_is_started_again_once_and_then_given_up() -> None:
    one = watch()

    assert one.judge(10, b"Booting") is Next.WAIT
    assert one.judge(10 + SILENCE - 1, b"Booting") is Next.WAIT
    assert one.judge(10 + SILENCE, b"Booting") is Next.START_AGAIN
    assert one.judge(10 + 3 * SILENCE, b"Booting") is Next.WAIT
    assert one.judge(1001, b"Booting") is Next.GIVE_UP


def test_one_that_never_said_a_word_is_silent_too() -> None:
    one = watch()

    assert one.judge(1, b"") is Next.WAIT
    assert one.judge(1 + SILENCE, b"") is Next.START_AGAIN


@pytest.mark.parametrize(("said", "may"), [(None, True), (b"Booting", False)])
def test_nobody_is_started_again_whose_console_is_not_known_or_who_runs_already(
    said: bytes | None, may: bool
) -> None:
    one = watch(may_start_again=may)

    assert {one.judge(now, said) for now in range(0, 1000, 50)} == {Next.WAIT}


@pytest.mark.parametrize(
    ("console", "words"),
    [
        (b"", ""),
        (b"[    1.0] one\r\n[    2.0] two\r\n\r\nthree\r\nfour\r\n", "[    2.0] two | three | four"),
        (b"\x1b[0;1;31m*\x1b[0m\x1b[0;31m*     \x1b[0m] A start job\r\n\x1b[K\x07", "**     ] A start job"),
        (b"\xff\xfe broken", "\ufffd\ufffd broken"),
    ],
)
def test_the_last_words_are_text(console: bytes, words: str) -> None:
    assert last_words(console) == words


def test_what_the_console_said_last_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booting, "answers", lambda _machine, _within: False)

    with pytest.raises(
        MachineError, match=r"master-1 does not answer by SSH at 10\.9\.0\.11 within 0 s; look"
    ):
        booting.wait_for_ssh(cluster.machines[0], 0)
    with pytest.raises(MachineError, match=r"within 0 s; its console said last: Kernel panic; look"):
        booting.wait_for_ssh(cluster.machines[0], 0, lambda: b"Kernel panic\n")


@pytest.fixture
def server(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Machine, socket.socket]]:
    """A machine whose address is here, and the socket where it listens."""
    with socket.create_server((HERE, 0)) as listening:
        monkeypatch.setattr(booting, "SSH", listening.getsockname()[1])
        yield replace(cluster.machines[0], address=ip_address(HERE)), listening


@pytest.mark.parametrize(("greeting", "answered"), [(b"SSH-2.0-x\r\n", True), (b"Not allowed\r\n", False)])
def test_an_ssh_server_is_known_by_its_greeting(
    server: tuple[Machine, socket.socket], greeting: bytes, answered: bool
) -> None:
    machine, listening = server

    def greet() -> None:
        taken, _ = listening.accept()
        with taken:
            taken.sendall(greeting)

    thread = threading.Thread(target=greet)
    thread.start()
    assert booting.answers(machine, 30) is answered
    thread.join()
