"""Waiting: told once, given up at last, begun anew for the next thing."""

import pytest

from kybern.cli.patience import Patience
from kybern.machines.errors import MachineError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", sleep)
    return now


def test_it_is_told_once_and_given_up(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    patience = Patience(10, every=4)

    for _ in range(3):
        patience.wait("Waiting for a.", "a is late")
    with pytest.raises(MachineError, match="a is late"):
        patience.wait("Waiting for a.", "a is late")

    assert capsys.readouterr().out == "Waiting for a.\n"
    assert clock == [112.0]


def test_the_next_thing_has_all_the_time_again(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    patience = Patience(10, every=9)
    for what in ("a", "b"):
        patience.wait(f"Waiting for {what}.", "late")
        patience.wait(f"Waiting for {what}.", "late")
        patience.restore()

    assert capsys.readouterr().out == "Waiting for a.\nWaiting for b.\n"
    assert clock == [136.0]
