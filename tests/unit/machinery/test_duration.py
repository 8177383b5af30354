"""Spans of time, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery import duration

HUMAN = [
    (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"), (600, "10m"),
    (10799, "179m"), (10800, "3h"), (10860, "3h1m"), (28800, "8h"), (172799, "47h"), (172800, "2d"), (176400, "2d1h"),
    (691200, "8d"), (63071999, "729d"), (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "shown"), HUMAN)
def test_an_age_reads_as_kubectl_shows_it(seconds: int, shown: str) -> None:
    assert duration.human(seconds) == shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m30s", 90), ("1.5h", 5400), ("-1m", -60), ("0", 0), (".5s", 0.5)]
)
def test_a_go_duration_is_read(text: str, seconds: float) -> None:
    assert duration.parse(text) == int(seconds * 10**9)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "invalid duration"), ("5", "missing unit"), ("5x", 'unknown unit "x"'), ("x", "invalid duration")],
)
def test_a_bad_duration_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        duration.parse(text)


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_reading_undoes_writing(nanoseconds: int) -> None:
    assert duration.parse(duration.form(nanoseconds)) == nanoseconds


def test_durations_are_written_as_go_writes_them() -> None:
    shown = [duration.form(int(seconds * 10**9)) for seconds in (0, 0.1, 1.5, 90, 3600, 3661.5)]
    assert shown == ["0s", "100ms", "1.5s", "1m30s", "1h0m0s", "1h1m1.5s"]
