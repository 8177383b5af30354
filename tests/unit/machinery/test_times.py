"""Times on the wire."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machinery import times


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("2020-01-01T01:30:00+01:30", "2020-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00.999Z", "2020-01-01T00:00:00Z"),
        ("2020-02-29T00:00:00Z", "2020-02-29T00:00:00Z"),
    ],
)
def test_a_time_is_answered_in_utc_and_whole_seconds(text: str, shown: str) -> None:
    assert times.normal(text) == shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2020-01-01T00:01:00Zx", 'parsing time "2020-01-01T00:01:00Zx": extra text: "x"'),
        ("bad", 'parsing time "bad" as "2006-01-02T15:04:05Z07:00": cannot parse "bad" as "2006"'),
        ("2020-13-01T00:00:00Z", 'parsing time "2020-13-01T00:00:00Z": month out of range'),
        ("2021-02-29T00:00:00Z", 'parsing time "2021-02-29T00:00:00Z": day out of range'),
        ("2020-01-01T24:00:00Z", 'parsing time "2020-01-01T24:00:00Z": hour out of range'),
    ],
)
def test_a_bad_time_is_refused_in_go_s_words(text: str, says: str) -> None:
    with pytest.raises(times.TimeError) as caught:
        times.normal(text)
    assert str(caught.value) == says


def test_a_bad_micro_time_names_its_own_layout() -> None:
    with pytest.raises(times.TimeError) as caught:
        times.normal_micro("yesterday")
    assert str(caught.value) == (
        'parsing time "yesterday" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "yesterday" as "2006"'
    )


@given(st.datetimes(timezones=st.just(UTC)))
def test_reading_undoes_writing(moment: datetime) -> None:
    assert times.parse(times.form_micro(moment), times.MICRO_LAYOUT) == moment
    assert times.normal(times.form(moment)) == times.form(moment)
