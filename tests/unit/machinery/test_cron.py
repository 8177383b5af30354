"""Cron schedules: what can be read, and when it comes due."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kybern.machinery.cron import Every, parse


def moments(text: str, start: str, count: int = 3, zone: str = "UTC") -> list[str]:
    """The next times after ``start`` (a UTC time), in UTC."""

    def steps() -> Iterator[datetime]:
        at = datetime.fromisoformat(start).replace(tzinfo=UTC)
        schedule = parse(text)
        while (found := schedule.after(at, ZoneInfo(zone))) is not None:
            at = found
            yield at

    return [f"{at:%Y-%m-%dT%H:%M}" for at in islice(steps(), count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["2026-01-01T12:31", "2026-01-01T12:32", "2026-01-01T12:33"]),
        ("*/15 * * * *", ["2026-01-01T12:45", "2026-01-01T13:00", "2026-01-01T13:15"]),
        ("5/20 * * * *", ["2026-01-01T12:45", "2026-01-01T13:05", "2026-01-01T13:25"]),
        ("0 9-17/4 * * *", ["2026-01-01T13:00", "2026-01-01T17:00", "2026-01-02T09:00"]),
        ("1,2,40 12 * * *", ["2026-01-01T12:40", "2026-01-02T12:01", "2026-01-02T12:02"]),
        ("1,,40 12 * * *", ["2026-01-01T12:40", "2026-01-02T12:01", "2026-01-02T12:40"]),
        ("0 0 * * mon", ["2026-01-05T00:00", "2026-01-12T00:00", "2026-01-19T00:00"]),
        ("0 0 ? * MON-Wed", ["2026-01-05T00:00", "2026-01-06T00:00", "2026-01-07T00:00"]),
        ("0 0 * * 0", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        ("0 0 1 mar,Dec *", ["2026-03-01T00:00", "2026-12-01T00:00", "2027-03-01T00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00"]),
        ("0 0 31 * *", ["2026-01-31T00:00", "2026-03-31T00:00", "2026-05-31T00:00"]),
        # Either of the days when both are given, both of them when one is a star.
        ("0 0 13 * fri", ["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-13T00:00"]),
        ("0 0 */1 * fri", ["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-16T00:00"]),
        ("0 0 */15 * fri", ["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-16T00:00"]),
        ("@hourly", ["2026-01-01T13:00", "2026-01-01T14:00", "2026-01-01T15:00"]),
        ("@daily", ["2026-01-02T00:00", "2026-01-03T00:00", "2026-01-04T00:00"]),
        ("@midnight", ["2026-01-02T00:00", "2026-01-03T00:00", "2026-01-04T00:00"]),
        ("@weekly", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        ("@monthly", ["2026-02-01T00:00", "2026-03-01T00:00", "2026-04-01T00:00"]),
        ("@yearly", ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]),
        ("@annually", ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]),
        ("@every 1h30m", ["2026-01-01T14:00", "2026-01-01T15:30", "2026-01-01T17:00"]),
        ("59 23 31 2 *", []),
    ],
)
def test_what_comes_next(text: str, expected: list[str]) -> None:
    assert moments(text, "2026-01-01T12:30", max(len(expected), 1) if text != "0 0 29 2 *" else 1) == expected


@pytest.mark.parametrize(
    ("text", "zone", "start", "expected"),
    [
        # Winter and summer of one place.
        ("0 9 * * *", "Europe/Berlin", "2026-03-27T12:00", ["2026-03-28T08:00", "2026-03-29T07:00"]),
        # What summer time skips is skipped: 29 March has no 02:30.
        ("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", ["2026-03-28T01:30", "2026-03-30T00:30"]),
        # What it repeats comes twice: 02:30 on 25 October.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-25T01:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-01T06:30"]),
        # An hourly one keeps its pace through either.
        ("0 * * * *", "Europe/Berlin", "2026-03-29T00:30", ["2026-03-29T01:00", "2026-03-29T02:00"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T00:30", ["2026-10-25T01:00", "2026-10-25T02:00"]),
        # Half an hour of daylight saving, and a zone that is not whole hours away.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00", ["2026-10-04T15:15"]),
        ("0 0 * * *", "Asia/Kathmandu", "2026-01-01T00:00", ["2026-01-01T18:15", "2026-01-02T18:15"]),
        # A day that begins at one o'clock.
        ("30 0 * * *", "Africa/Cairo", "2026-04-22T23:00", ["2026-04-24T21:30"]),
    ],
)
def test_the_clock_on_the_wall_counts(text: str, zone: str, start: str, expected: list[str]) -> None:
    assert moments(text, start, len(expected), zone) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected exactly 5 fields, found 0: []"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* 24 * * *", "end of range (24) above maximum (23): 24"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * 13 *", "end of range (13) above maximum (12): 13"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("30-10 * * * *", "beginning of range (30) beyond end of range (10): 30-10"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("jan * * * *", 'failed to parse int from jan: strconv.Atoi: parsing "jan": invalid syntax'),
        (", * * * *", "empty field: ,"),
        ("@sometimes", "unrecognized descriptor: @sometimes"),
        ("@every never", 'failed to parse duration @every never: time: invalid duration "never"'),
    ],
)
def test_what_cannot_be_followed(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as found:  # noqa: PT011  # the text is compared
        parse(text)

    assert str(found.value) == complaint


def test_every_counts_whole_seconds_and_at_least_one() -> None:
    assert (parse("@every 10ms"), parse("@every 90.7s")) == (Every(1), Every(90))


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "5,50", "58-59"]),
    st.sampled_from(["*", "1", "2", "*/5", "0,23"]),
    st.sampled_from(["*", "1", "28-31", "*/10"]),
    st.sampled_from(["*", "3", "10-11"]),
    st.sampled_from(["*", "0", "mon-fri"]),
).map(" ".join)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])


@given(FIELDS, ZONES, st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_it_agrees_with_trying_every_minute(text: str, zone: str, start: datetime) -> None:
    """The oracle looks at the clock on the wall once a minute for a day."""
    schedule, where = parse(text), ZoneInfo(zone)
    assert not isinstance(schedule, Every)
    first = start.replace(second=0, microsecond=0)
    tried = (datetime.fromtimestamp(first.timestamp() + 60 * i, UTC) for i in range(1, 1441))

    def fits(at: datetime) -> bool:
        wall = at.astimezone(where)
        days = (wall.day in schedule.days.values, wall.isoweekday() % 7 in schedule.weekdays.values)
        day = all(days) if schedule.days.star or schedule.weekdays.star else any(days)
        clock = wall.minute in schedule.minutes.values and wall.hour in schedule.hours.values
        return clock and day and wall.month in schedule.months.values

    expected = next((at for at in tried if at > start and fits(at)), None)
    found = schedule.after(start, where)

    assert found == expected or (
        expected is None and (found is None or (found - start).total_seconds() > 86340)
    )


def test_times_only_go_forward() -> None:
    schedule, at, seen = parse("*/10 1-3 * * *"), datetime(2026, 10, 24, 20, tzinfo=UTC), []
    for _ in range(60):
        found = schedule.after(at, ZoneInfo("Europe/Berlin"))
        assert found is not None
        seen.append(at := found)

    assert all(one < other for one, other in pairwise(seen))


@given(FIELDS, ZONES, st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_latest_is_the_one_before_the_next(text: str, zone: str, start: datetime) -> None:
    schedule, where = parse(text), ZoneInfo(zone)
    first = schedule.after(start, where)
    assume(first is not None)
    assert first is not None
    times = [first]
    while len(times) < 8 and (upcoming := schedule.after(times[-1], where)) is not None:
        times.append(upcoming)

    assert [schedule.latest(first, at, where) for at in times] == times
    assert [schedule.latest(first, after - timedelta(seconds=1), where) for after in times[1:]] == times[:-1]


def test_the_latest_of_an_interval_keeps_its_pace() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    assert parse("@every 7m").latest(start, start + timedelta(minutes=20), UTC) == start + timedelta(
        minutes=14
    )
