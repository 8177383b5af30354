"""Delays grow, and are forgotten."""

from datetime import timedelta

from kybern.kubelet.backoff import Delay, longer, remaining
from kybern.kubelet.steps import shown
from tests.unit.kubelet.making import NOW, ago


def test_delays_double_up_to_five_minutes() -> None:
    delay, seen, now = None, [], NOW
    for _try in range(7):
        delay = longer(delay, now)
        seen.append(delay.seconds)
        now += timedelta(seconds=delay.seconds)

    assert seen == [10, 20, 40, 80, 160, 300, 300]


def test_nothing_waits_before_its_first_failure() -> None:
    assert remaining(None, ago(0), NOW) == 0


def test_the_wait_counts_from_the_end() -> None:
    assert remaining(Delay(40, ago(60)), ago(15), NOW) == 25
    assert remaining(Delay(40, ago(60)), ago(45), NOW) == 0


def test_a_clock_that_was_set_back_makes_nothing_wait() -> None:
    assert remaining(Delay(40, ago(-3600)), ago(-3590), NOW) == 0
    again = longer(Delay(40, ago(-3600)), NOW)
    assert (again.seconds, remaining(again, ago(5), NOW)) == (80, 75), "from then on as ever"


def test_a_clock_that_was_set_forward_makes_nothing_wait_longer() -> None:
    assert remaining(Delay(40, ago(3610)), ago(3600), NOW) == 0


def test_ten_minutes_of_peace_make_a_delay_forgotten() -> None:
    old = Delay(300, ago(1000))

    assert remaining(old, ago(1), NOW) == 0
    assert longer(old, NOW).seconds == 10


def test_durations_read_as_in_go() -> None:
    assert [shown(seconds) for seconds in (10, 80, 300)] == ["10s", "1m20s", "5m0s"]
