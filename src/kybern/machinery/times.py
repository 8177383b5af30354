"""Times on the wire: RFC 3339 in UTC, whole seconds (Time) or microseconds (MicroTime). Pure: now is given, not asked.

Reading follows Go's parser, which is laxer (a comma before the fraction, one-digit hours) and says exactly what it did
not understand; the texts are Go's, because clients see them.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

LAYOUT = "2006-01-02T15:04:05Z07:00"
MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
USUAL = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
# The parts of the layout in order: how it is spelled there, what matches it, its name in messages about the range.
PARTS = (
    ("2006", r"[0-9]{4}", ""),
    ("-", "-", ""),
    ("01", r"[0-9]{2}", "month"),
    ("-", "-", ""),
    ("02", r"[0-9]{2}", "day"),
    ("T", "T", ""),
    ("15", r"[0-9]{1,2}", "hour"),
    (":", ":", ""),
    ("04", r"[0-9]{2}", "minute"),
    (":", ":", ""),
    ("05", r"[0-9]{2}(?:[.,][0-9]+)?", "second"),
    ("Z07:00", r"Z|[+-][0-9]{2}:[0-9]{2}", "time zone offset"),
)
RANGES = {"month": (1, 12), "day": (1, 31), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeError(ValueError):
    """Text that is no time; says why in Go's words."""


def parse(text: str, layout: str = LAYOUT) -> datetime:
    """An aware time; raises TimeError."""
    found = USUAL.fullmatch(text)
    if found is None:
        raise TimeError(_wrong(text, layout))
    fraction = found[7]
    if layout == MICRO_LAYOUT and (fraction is None or len(fraction) != 7):
        raise TimeError(_wrong_fraction(text, found.end(6), layout))
    micro = int((fraction or ".0")[1:7].ljust(6, "0"))
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        return datetime(year, month, day, hour, minute, second, micro, _zone(found[8]))
    except (ValueError, OverflowError) as error:
        raise TimeError(_wrong(text, layout)) from error


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    size = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-size if text[0] == "-" else size)


def _wrong_fraction(text: str, at: int, layout: str) -> str:
    return f'parsing time "{text}" as "{layout}": cannot parse "{text[at:]}" as ".000000"'


def _wrong(text: str, layout: str) -> str:
    """What Go says of a time that it cannot read: the first part that does not fit, or the part out of range."""
    rest = text
    for spelled, pattern, name in PARTS:
        found = re.match(pattern, rest, re.ASCII)
        if found is None:
            return f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{spelled}"'
        low, high = RANGES.get(name, (0, 9999))
        number = re.match("[0-9]+", found[0])
        if name and number and not low <= int(number[0]) <= high:
            return f'parsing time "{text}": {name} out of range'
        rest = rest[found.end() :]
    if rest:
        return f'parsing time "{text}": extra text: "{rest}"'
    return f'parsing time "{text}": day out of range'


def form(moment: datetime) -> str:
    """Whole seconds: metav1.Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def form_micro(moment: datetime) -> str:
    """Microseconds: metav1.MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def of_unix(seconds: float) -> str:
    """Unix seconds as metav1.Time."""
    return _of_second(int(seconds))


@lru_cache(maxsize=64)
def _of_second(seconds: int) -> str:
    """Kept, since it is nearly always asked for now."""
    return form(EPOCH + timedelta(seconds=seconds))


def of_unix_micro(seconds: float) -> str:
    """Unix seconds as metav1.MicroTime."""
    return form_micro(EPOCH + timedelta(microseconds=int(seconds * 1_000_000)))


def to_unix(text: str) -> float:
    """Unix seconds of either form."""
    return parse(text).timestamp()


def normal(text: str) -> str:
    """A Time as the API answers it: UTC, whole seconds."""
    if len(text) == 20 and (found := USUAL.fullmatch(text)) and int(found[3]) <= 28 and found[1] > "0000":
        _quick(found, text)
        return text
    return form(parse(text))


def _quick(found: re.Match[str], text: str) -> None:
    good = (
        "01" <= found[2] <= "12"
        and found[3] > "00"
        and found[4] < "24"
        and found[5] < "60"
        and found[6] < "60"
    )
    if not good:
        raise TimeError(_wrong(text, LAYOUT))


def normal_micro(text: str) -> str:
    """A MicroTime as the API answers it."""
    return form_micro(parse(text, MICRO_LAYOUT))
