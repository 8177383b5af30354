"""The time that a pod may run (activeDeadlineSeconds), counted by a clock that nobody sets."""

from datetime import UTC, datetime, timedelta

import pytest

from kybern.kubelet.countdown import Countdown

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clocks:
    """Time passes on both; one of them may be set besides."""

    def __init__(self, wall: datetime = START) -> None:
        self.wall, self.steady = wall, 1000.0

    def passes(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds

    def countdown(self) -> Countdown:
        return Countdown(lambda: self.wall, lambda: self.steady)


@pytest.mark.parametrize("step", [0.0, 3600.0, -3600.0, 365 * 86400.0])
def test_a_pod_has_its_time_whatever_is_done_to_the_clock(step: float) -> None:
    clocks = Clocks()
    countdown = clocks.countdown()
    clocks.passes(10)
    assert countdown.left(60, START) == 50

    clocks.wall += timedelta(seconds=step)
    clocks.passes(49)
    assert countdown.left(60, START) == 1
    clocks.passes(2)
    assert countdown.left(60, START) == -1


def test_a_kubelet_that_starts_again_counts_on() -> None:
    clocks = Clocks(START + timedelta(seconds=45))

    assert clocks.countdown().left(60, START) == 15
    assert clocks.countdown().left(30, START) == -15


def test_a_beginning_that_is_still_to_come_is_now() -> None:
    clocks = Clocks(START - timedelta(hours=1))
    countdown = clocks.countdown()

    assert countdown.left(60, START) == 60
    clocks.passes(10)
    assert countdown.left(60, START) == 50


def test_without_a_limit_or_a_beginning_there_is_no_end() -> None:
    clocks = Clocks()
    countdown = clocks.countdown()

    assert countdown.left(None, START) is None
    assert countdown.left(60, None) is None
    clocks.passes(5)
    assert (countdown.left(60, START), countdown.left(30, START)) == (55, 25)
