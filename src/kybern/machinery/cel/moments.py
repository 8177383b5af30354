"""Texts of times and spans as the language reads them, and what a clock and a calendar show at a moment somewhere.

A moment is whole nanoseconds since 1970 in UTC; a zone is named as in the database of zones, or is an offset such as -08:00.
"""

import re
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from kybern.machinery import duration, times
from kybern.machinery.cel.values import Duration, EvaluationError, Timestamp

SECOND = 10**9
FIRST, LAST = -62135596800, 253402300799
"""The seconds of the years 1 and 9999."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"[.,]([0-9]+)")
_LONGEST = 2**63
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)


def timestamp(text: str) -> Timestamp:
    """RFC 3339; raises times.TimeError, or EvaluationError when it is too early or too late."""
    if text.startswith("0000-"):
        times.parse(f"0004-{text[5:]}")
        raise EvaluationError("timestamp overflow")
    fraction = _FRACTION.search(text)
    past = times.parse(text).replace(microsecond=0) - _EPOCH
    seconds = past.days * 86400 + past.seconds
    return at(seconds, int(fraction[1][:9].ljust(9, "0")) if fraction else 0)


def at(seconds: int, nanoseconds: int = 0) -> Timestamp:
    if not FIRST <= seconds <= LAST:
        raise EvaluationError("timestamp overflow")
    return Timestamp(seconds * SECOND + nanoseconds)


def span(text: str) -> Duration:
    """Go's form: 1h30m; raises ValueError."""
    found = duration.parse(text)
    if not -_LONGEST <= found < _LONGEST:
        raise ValueError(f'time: invalid duration "{text}"')
    return Duration(found)


def there(moment: Timestamp, zone: str = "") -> datetime:
    """What clocks show in a zone, to the second."""
    try:
        return (_EPOCH + timedelta(seconds=moment.nanoseconds // SECOND)).astimezone(_zone(zone))
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def _zone(name: str) -> tzinfo:
    if name in ("", "UTC"):
        return UTC
    if ":" in name:
        return _offset(name)
    if name.startswith(("/", "\\")) or ".." in name:
        raise EvaluationError("time: invalid location name")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise EvaluationError(f"unknown time zone {name}") from None


def _offset(name: str) -> tzinfo:
    hours, _, minutes = name.partition(":")
    for each in (hours, minutes):
        if not _NUMBER.fullmatch(each):
            raise EvaluationError(f'strconv.Atoi: parsing "{each}": invalid syntax')
    size = int(hours) * 60 + (-int(minutes) if name.startswith("-") else int(minutes))
    try:
        return timezone(timedelta(minutes=size))
    except (ValueError, OverflowError):
        raise EvaluationError(f"unknown time zone {name}") from None
