"""When a cron schedule comes due: five fields, a descriptor or ``@every``; pure.

The language is that of the library that upstream uses: lists, ranges, steps, names of months and days, and no seconds. A
day must be in both of its fields when either is a star, else in one of them. A schedule means the clock on the wall: a
time that the change to summer time leaves out is left out, and one that the change back repeats comes due twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import product

from kybern.machinery import duration

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: i for i, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: i for i, name in enumerate(_DAYS)}),
)
_YEARS = 5
"""How far ahead is looked; 31 February is found to be never."""


@dataclass(frozen=True, slots=True)
class Field:
    """The values of one field, in order, at least one. ``star``: it is a star, which leaves the choice to others."""

    values: tuple[int, ...]
    star: bool


@dataclass(frozen=True, slots=True)
class Every:
    """So many whole seconds apart, counted from the last time."""

    seconds: int

    def after(self, moment: datetime, _zone: tzinfo | None) -> datetime | None:
        return moment.replace(microsecond=0) + timedelta(seconds=self.seconds)

    def latest(self, first: datetime, now: datetime, _zone: tzinfo | None) -> datetime:
        """The last time that is not after ``now``, counted from ``first``."""
        apart = timedelta(seconds=self.seconds)
        return first + (now - first) // apart * apart


@dataclass(frozen=True, slots=True)
class Table:
    """Five fields."""

    minutes: Field
    hours: Field
    days: Field
    months: Field
    weekdays: Field

    def after(self, moment: datetime, zone: tzinfo | None) -> datetime | None:
        """The first time after ``moment``, in UTC. ``zone`` None is that of this machine. None when there is none."""
        first = moment.astimezone(zone).date()
        day = first
        while day.year <= first.year + _YEARS:
            if self._has(day):
                found = min(self._on(day, moment, zone), default=None)
                if found is not None:
                    return found
            day += timedelta(days=1)
        return None

    def latest(self, first: datetime, now: datetime, zone: tzinfo | None) -> datetime:
        """The last time that is not after ``now``; ``first`` is one that is not. Found by halving: there may be millions."""
        low, high = 0, int((now - first).total_seconds()) + 1
        while high - low > 1:
            middle = (low + high) // 2
            upcoming = self.after(first + timedelta(seconds=middle - 1), zone)
            if upcoming is not None and upcoming <= now:
                low = middle
            else:
                high = middle
        return self.after(first + timedelta(seconds=low - 1), zone) or first

    def _has(self, day: date) -> bool:
        if day.month not in self.months.values:
            return False
        in_month, in_week = day.day in self.days.values, day.isoweekday() % 7 in self.weekdays.values
        if self.days.star or self.weekdays.star:
            return in_month and in_week
        return in_month or in_week

    def _on(self, day: date, moment: datetime, zone: tzinfo | None) -> Iterator[datetime]:
        """For every hour of a day, and for either passage of an hour that is passed twice, the first time that is left."""
        for hour, fold in product(self.hours.values, (0, 1)):
            if _instant(day, hour, self.minutes.values[-1], fold, zone) <= moment:
                continue
            for minute in self.minutes.values:
                found = _instant(day, hour, minute, fold, zone)
                if found > moment and _is_shown(found, day, hour, minute, zone):
                    yield found
                    break


def _instant(day: date, hour: int, minute: int, fold: int, zone: tzinfo | None) -> datetime:
    return datetime.combine(day, time(hour, minute, fold=fold), zone).astimezone(UTC)


def _is_shown(found: datetime, day: date, hour: int, minute: int, zone: tzinfo | None) -> bool:
    """Whether the clock on the wall ever shows this time: not in the hour that summer time skips."""
    shown = found.astimezone(zone).replace(tzinfo=None, fold=0)
    return shown == datetime.combine(day, time(hour, minute))


type Schedule = Table | Every


@lru_cache(4096)
def parse(text: str) -> Schedule:
    """Read a schedule. Raises ValueError in upstream's words."""
    if text.startswith("@every "):
        return _every(text)
    if text.startswith("@") and text not in _DESCRIPTORS:
        raise ValueError(f"unrecognized descriptor: {text}")
    fields = _DESCRIPTORS.get(text, text).split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    return Table(*(_field(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)))


def _every(text: str) -> Every:
    try:
        nanoseconds = duration.parse(text.removeprefix("@every "))
    except ValueError as wrong:
        raise ValueError(f"failed to parse duration {text}: {wrong}") from wrong
    return Every(max(nanoseconds // 10**9, 1))


def _field(text: str, low: int, high: int, names: dict[str, int]) -> Field:
    values: set[int] = set()
    star = False
    for part in text.split(","):
        if part:  # as upstream, which reads "1,,2" as "1,2"
            found = _range(part, low, high, names)
            values.update(found.values)
            star = star or found.star
    if not values:
        raise ValueError(f"empty field: {text}")
    return Field(tuple(sorted(values)), star)


def _range(text: str, low: int, high: int, names: dict[str, int]) -> Field:
    """One part between commas: ``*``, ``5``, ``1-5``, each with an optional step."""
    span, *steps = text.split("/")
    first, last = _ends(span, low, high, names, stepped=bool(steps))
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    step = _number(steps[0], {}) if steps else 1
    if first < low:
        raise ValueError(f"beginning of range ({first}) below minimum ({low}): {text}")
    if last > high:
        raise ValueError(f"end of range ({last}) above maximum ({high}): {text}")
    if first > last:
        raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return Field(tuple(range(first, last + 1, step)), span in ("*", "?") and step == 1)


def _ends(span: str, low: int, high: int, names: dict[str, int], *, stepped: bool) -> tuple[int, int]:
    if span in ("*", "?"):
        return low, high
    ends = span.split("-")
    if len(ends) > 2:
        raise ValueError(f"too many hyphens: {span}")
    first, last = _number(ends[0], names), _number(ends[-1], names)
    return first, high if stepped and len(ends) == 1 else last


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdecimal():
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
